package redis

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/vmihailenco/msgpack/v5"
)

// metadataOfAllSizes has every form that a map's and a string's head can take.
func metadataOfAllSizes() []message.Metadata {
	all := []message.Metadata{{}, {"": ""}, {"key": "é\x00\xff"}}
	for _, n := range []int{31, 32, 255, 256, 65535, 65536} {
		long := strings.Repeat("x", n)
		all = append(all, message.Metadata{"key": long, long: "value"})
	}
	for _, n := range []int{15, 16, 65535, 65536} {
		many := make(message.Metadata, n)
		for i := range n {
			many[fmt.Sprint(i)] = "v"
		}
		all = append(all, many)
	}
	return all
}

func TestMetadataOfOursIsReadByMsgpack(t *testing.T) {
	for _, md := range metadataOfAllSizes() {
		packed := appendMetadata(nil, md)
		if most := metadataSize(md); len(packed) > most {
			t.Errorf("%d entries: %d bytes, said to be at most %d", len(md), len(packed), most)
		}
		var got map[string]string
		if err := msgpack.Unmarshal(packed, &got); err != nil || !maps.Equal(got, md) {
			t.Errorf("%d entries: read as %d, %v", len(md), len(got), err)
		}
	}
}

func TestMetadataOfMsgpackIsReadByUs(t *testing.T) {
	for _, md := range metadataOfAllSizes() {
		packed, err := msgpack.Marshal(md) // as watermill-redisstream does
		if err != nil {
			t.Fatal(err)
		}
		got, err := readMetadata(string(packed))
		if err != nil || !maps.Equal(got, md) {
			t.Errorf("%d entries: read as %d, %v", len(md), len(got), err)
		}
	}
	packed, err := msgpack.Marshal(map[string][]byte{"bytes": []byte("\x00\xff"), "none": nil})
	if err != nil {
		t.Fatal(err)
	}
	got, err := readMetadata(string(packed))
	if err != nil || !maps.Equal(got, message.Metadata{"bytes": "\x00\xff", "none": ""}) {
		t.Errorf("bytes: %v, %v", got, err)
	}
	if _, err := readMetadata("\xc0"); err != nil {
		t.Errorf("nil: %v", err)
	}
}

var garbage = []string{
	"", "\xc1", "\x81", "\x81\xa1a", "\x81\xa1a\xc3", "\x81\x01\xa1a", "\x90", "\xa1a", "\x81\xa5ab\xa1a", "\xde\x00", "\xd9",
	"\xdf\xff\xff\xff\xff", "\xde\xff\xff", "\x8f\xa1a", "\x81\xdb\xff\xff\xff\xff", "\x81\xa1a\xc6\xff\xff\xff\xff", "\x81\xa1a\xc5\xff\xff",
}

func TestMetadataThatIsGarbageIsRefusedAndCostsNoMemory(t *testing.T) {
	for _, s := range garbage {
		cost := allocated(func() {
			if _, err := readMetadata(s); !errors.Is(err, errMetadata) {
				t.Errorf("%q: %v", s, err)
			}
		})
		if cost > 1<<20 {
			t.Errorf("%q: %d bytes of memory for %d", s, cost, len(s))
		}
	}
}

// allocated returns how many bytes fn and whatever else runs have asked for.
func allocated(fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// What is read reads the same elsewhere, and costs about what it is long.
func FuzzMetadata(f *testing.F) {
	for _, s := range garbage {
		f.Add([]byte(s))
	}
	for _, md := range metadataOfAllSizes()[:6] {
		f.Add(appendMetadata(nil, md))
	}
	f.Add([]byte("\x82\xa1a\xc4\x01b\xa1a\xc0 and more"))
	f.Fuzz(func(t *testing.T, packed []byte) {
		var got message.Metadata
		var err error
		if cost := allocated(func() { got, err = readMetadata(string(packed)) }); cost > 1<<20+uint64(100*len(packed)) {
			t.Errorf("%d bytes of memory for %d", cost, len(packed))
		}
		if err != nil {
			return
		}
		var want map[string]string
		if err := msgpack.Unmarshal(packed, &want); err != nil || !maps.Equal(got, want) {
			t.Errorf("read as %v, elsewhere as %v (%v)", got, want, err)
		}
		again, err := readMetadata(string(appendMetadata(nil, got)))
		if err != nil || !maps.Equal(got, again) {
			t.Errorf("written and read again: %v (%v), want %v", again, err, got)
		}
	})
}

// A message is the same after it was stored, whatever its bytes.
func FuzzEncodeDecode(f *testing.F) {
	f.Add("1", "key", "value", []byte("{}"))
	f.Add("", "", "\xff", []byte(nil))
	f.Fuzz(func(t *testing.T, uuid, key, value string, payload []byte) {
		msg := message.NewMessage(uuid, payload)
		msg.Metadata[key] = value
		pairs, err := Encode(msg)
		if err != nil {
			if key != fieldUUID || value == "" {
				t.Fatal(err)
			}
			return
		}
		values := map[string]any{}
		for i := 0; i < len(pairs); i += 2 {
			values[pairs[i].(string)] = fmt.Sprintf("%s", pairs[i+1])
		}
		got, err := Decode(values)
		if err != nil || got.UUID != uuid || !maps.Equal(got.Metadata, msg.Metadata) || !bytes.Equal(got.Payload, payload) {
			t.Errorf("got %+v, %v", got, err)
		}
	})
}
