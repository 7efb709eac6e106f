package events

import (
	"testing"
	"time"
)

// BenchmarkParseTime reads a time as SetHeader writes it, and as others may.
func BenchmarkParseTime(b *testing.B) {
	for _, text := range []string{"2026-11-26T20:20:24.123456Z", "2026-11-26T20:20:24.123456+01:00"} {
		b.Run(text, func(b *testing.B) {
			for b.Loop() {
				parseTime(text)
			}
		})
	}
}

// What is read by positions is what time.Parse reads, and nothing that it refuses.
func FuzzParseTimeIsTimeParse(f *testing.F) {
	for _, text := range []string{
		"2026-11-26T20:20:24.123456Z", "2026-11-26T20:20:24Z", "2026-11-26T20:20:24.1Z", "0000-01-01T00:00:00.000000001Z", "9999-12-31T23:59:59.999999999Z",
		"2024-02-29T00:00:00Z", "2023-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "2000-02-29T00:00:00Z", "2026-04-31T00:00:00Z", "2026-12-31T00:00:00Z",
		"2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z", "2026-01-00T00:00:00Z", "2026-01-32T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T23:60:00Z",
		"2026-01-01T23:59:60Z", "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00,5Z", "2026-01-01T00:00:00.1234567890Z", "2026-01-01T00:00:00.12345678901Z",
		"2026-01-01T00:00:00+00:00", "2026-01-01T00:00:00.5+02:00", "2026-01-01t00:00:00z", "2026-1-01T00:00:00Z", "+026-01-01T00:00:00Z",
		"2026-01-01 00:00:00Z", "2026-01-01T00:00:00", "2026-01-01T0:00:00Z", "2026-01-01T00:00:0aZ", "Z", "", "2026-01-01T00:00:00\xffZ",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		want, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			want = time.Time{}
		}
		if got := parseTime(text); got != want { // with the same location
			if !got.Equal(want) || got.String() != want.String() {
				t.Errorf("%q is read as %v, time.Parse says %v, %v", text, got, want, err)
			}
		}
		if got, ok := parseUTC(text); ok && (err != nil || got != want) {
			t.Errorf("%q is read as %#v by its positions, time.Parse says %#v, %v", text, got, want, err)
		}
	})
}

func FuzzParseTimeReadsWhatSetHeaderWrites(f *testing.F) {
	f.Add(int64(1764188424), int64(123456000))
	f.Add(int64(-62135596800), int64(1))
	f.Add(int64(253402300799), int64(999999999))
	f.Add(int64(951782400), int64(0)) // a 29th of February
	f.Fuzz(func(t *testing.T, seconds, nanos int64) {
		want := time.Unix(seconds, nanos).UTC()
		if want.Year() < 0 || want.Year() > 9999 {
			return // RFC 3339 has none.
		}
		got, ok := parseUTC(want.Format(time.RFC3339Nano))
		if !ok || got != want {
			t.Errorf("%v is read as %v, by positions: %v", want, got, ok)
		}
	})
}
