package hextext_test

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/logistically/events/internal/hextext"
)

func TestHexIsWhatTheStandardLibraryWrites(t *testing.T) {
	data := make([]byte, 0, 300)
	for i := range 256 {
		data = append(data, byte(i))
	}
	for from := range 9 {
		for to := from; to <= len(data); to++ {
			want := "x" + hex.EncodeToString(data[from:to])
			if got := hextext.Append([]byte("x"), data[from:to]); string(got) != want {
				t.Fatalf("%x: %s, want %s", data[from:to], got, want)
			}
			if back, ok := hextext.Decode([]byte("x"), want[1:]); !ok || !bytes.Equal(back[1:], data[from:to]) || back[0] != 'x' {
				t.Fatalf("%s: %x, %v", want, back, ok)
			}
		}
	}
}

func TestUUIDsAreWrittenAndReadAsTheyAre(t *testing.T) {
	for range 10_000 {
		var id uuid.UUID
		_, _ = rand.Read(id[:]) // It never fails.
		text := hextext.AppendUUID([]byte("x"), id)
		if string(text[1:]) != id.String() {
			t.Fatalf("%s, want %s", text[1:], id)
		}
		back, ok := hextext.DecodeUUID([]byte("x"), id.String())
		if !ok || !bytes.Equal(back, slices.Concat([]byte("x"), id[:])) {
			t.Fatalf("%s: %x, %v", id, back, ok)
		}
	}
}

// Any byte in any place: nothing but lowercase digits is taken.
func TestWhatIsNoLowercaseHexIsRefused(t *testing.T) {
	const id = "0198a1b2-7c3d-7e4f-8a9b-0c1d2e3f4a5b"
	for _, good := range []string{strings.ReplaceAll(id, "-", ""), "0123456789abcdef01", "0f", id} {
		for i := range len(good) {
			for c := range 256 {
				bad := good[:i] + string([]byte{byte(c)}) + good[i+1:]
				isDigit := strings.IndexByte("0123456789abcdef", byte(c)) >= 0
				decode, want := hextext.Decode, isDigit
				if good == id {
					decode = hextext.DecodeUUID
					if good[i] == '-' {
						want = c == '-'
					}
				}
				if out, ok := decode([]byte("x"), bad); ok != want || !ok && string(out) != "x" {
					t.Fatalf("%q: %x, %v", bad, out, ok)
				}
			}
		}
	}
	for _, s := range []string{"0", "012", "012345678", id[1:], id + "0", ""} {
		if _, ok := hextext.DecodeUUID(nil, s); ok {
			t.Errorf("%q is a UUID", s)
		}
		if _, ok := hextext.Decode(nil, s); ok != (s == "") {
			t.Errorf("%q: %v", s, ok)
		}
	}
}

func Benchmark(b *testing.B) {
	var id [16]byte
	hash := make([]byte, 32)
	_, _ = rand.Read(hash) // It never fails.
	copy(id[:], hash)
	out := make([]byte, 0, 64)
	text, uuidText := hex.EncodeToString(hash), string(hextext.AppendUUID(nil, id))
	for name, op := range map[string]func(){
		"hash": func() { hextext.Append(out, hash) }, "hash-std": func() { hex.AppendEncode(out, hash) },
		"hash-back": func() { hextext.Decode(out, text) },
		"uuid":      func() { hextext.AppendUUID(out, id) }, "uuid-back": func() { hextext.DecodeUUID(out, uuidText) },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				op()
			}
		})
	}
}
