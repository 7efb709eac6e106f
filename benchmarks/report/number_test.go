package report

import (
	"testing"

	"github.com/logistically/events/benchmarks/harness"
)

func TestQuantitiesForPeople(t *testing.T) {
	for _, c := range []struct {
		v    float64
		unit string
		want string
	}{
		{12_345, "messages/s", "12.3 k/s"},
		{999.6, "messages/s", "1.00 k/s"},
		{999.4, "messages/s", "999/s"},
		{2_500_000, "deliveries/s", "2.50 M/s"},
		{0.0123, "commands/s", "0.0123/s"},
		{0, "messages/s", "0/s"},
		{0.3456, "ms (p50)", "346 µs (p50)"},
		{12.34, "ms", "12.3 ms"},
		{1234, "ms", "1.23 s"},
		{0.0005, "ms", "500 ns"},
		{1536, "bytes/message", "1.50 KiB/message"},
		{1024, "bytes", "1.00 KiB"},
		{300, "bytes/message", "300 B/message"},
		{12_345, "widgets", "12.3 k widgets"},
	} {
		if got := quantity(c.v, harness.Unit{Name: c.unit}); got != c.want {
			t.Errorf("%v %s: %q, want %q", c.v, c.unit, got, c.want)
		}
	}
}
