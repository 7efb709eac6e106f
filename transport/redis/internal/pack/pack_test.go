package pack_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	"github.com/klauspost/compress/zstd"
	"github.com/logistically/events"
	"github.com/logistically/events/transport/redis/internal/pack"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const most = 1 << 20

// packed packs messages into one pack.
func packed(t testing.TB, msgs ...*message.Message) string {
	t.Helper()
	var p pack.Packer
	for _, msg := range msgs {
		if !p.Add(msg, most) {
			t.Fatalf("message %q is too large", msg.UUID)
		}
	}
	return string(p.Pack())
}

// sameAs reports an error unless a pack has just these messages.
func sameAs(t interface{ Fatalf(string, ...any) }, s string, want []*message.Message) {
	read, err := pack.Parse(s)
	if err != nil {
		t.Fatalf("parse: %v", err)
	}
	got, err := read.Unpack(nil)
	if err != nil {
		t.Fatalf("unpack: %v", err)
	}
	bytes := 0
	for i := range want {
		bytes += len(want[i].Payload)
		if i >= len(got) || !same(got[i], want[i]) {
			t.Fatalf("message %d of %d differs from %+v", i, len(got), want[i])
		}
	}
	if len(got) != len(want) || read.Messages != len(want) || read.Bytes != bytes {
		t.Fatalf("%d messages, says %d of %d bytes, want %d of %d bytes", len(got), read.Messages, read.Bytes, len(want), bytes)
	}
}

func same(got pack.Message, want *message.Message) bool {
	return got.UUID == want.UUID && maps.Equal(got.Metadata, want.Metadata) && bytes.Equal(got.Payload, want.Payload)
}

// event is a message as events.Publisher makes it, its body words and digits.
func event(n, size int) *message.Message {
	words := "customer order 4711 shipped to warehouse 23, "
	body := make([]byte, size)
	for i := range body {
		body[i] = words[(i*7+n+i/45)%len(words)]
	}
	msg := message.NewMessage(uuid.Must(uuid.NewV7()).String(), body)
	msg.Metadata = message.Metadata{
		events.MetadataType: "order.shipped", events.MetadataOrigin: "orders", events.MetadataVersion: "1.0.0", events.MetadataHash: events.Hash(body),
		events.MetadataTime: fmt.Sprintf("2026-11-26T20:20:24.%06dZ", n), events.MetadataCorrelationID: msg.UUID,
	}
	return msg
}

func TestMessagesArePackedAndUnpackedAsTheyAre(t *testing.T) {
	odd := message.NewMessage("", nil)
	odd.Metadata = message.Metadata{"": "", "k": strings.Repeat("ab", 40), "u": strings.ToUpper(uuid.NewString()), "h": strings.Repeat("AB", 20), "o": "abc"}
	var many []*message.Message
	for i := range 500 {
		msg := event(i, i)
		switch i % 5 {
		case 1:
			msg.Metadata["more"] = "x"
		case 2:
			msg.Metadata = nil
		case 3:
			delete(msg.Metadata, events.MetadataTime)
			msg.Metadata["other"] = "same number of keys"
		}
		many = append(many, msg)
	}
	for name, msgs := range map[string][]*message.Message{
		"one": {event(1, 256)}, "empty": {message.NewMessage("", nil)}, "odd": {event(1, 9), odd, odd, event(2, 9)}, "many": many,
	} {
		t.Run(name, func(t *testing.T) { sameAs(t, packed(t, msgs...), msgs) })
	}
}

// A packer is used again and again, and gives each pack what belongs into it.
func TestPropertyPacksHaveWhatWasAdded(t *testing.T) {
	var p pack.Packer
	value := rapid.OneOf(rapid.String(), rapid.Just("same"), rapid.StringMatching(`[0-9a-f]{30,70}`), rapid.StringMatching(`2026-11-[0-9]{2}`),
		rapid.Custom(func(t *rapid.T) string { return uuid.UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id")).String() }))
	rapid.Check(t, func(t *rapid.T) {
		var msgs []*message.Message
		for range rapid.IntRange(1, 20).Draw(t, "messages") {
			msg := message.NewMessage(value.Draw(t, "uuid"), rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "payload"))
			msg.Metadata = rapid.MapOfN(rapid.SampledFrom([]string{"", "a", "b", "c", "d"}), value, 0, 5).Draw(t, "metadata")
			if rapid.Bool().Draw(t, "with its own id") {
				msg.Metadata["id"] = msg.UUID
			}
			if p.Add(msg, 400) {
				msgs = append(msgs, msg)
			}
		}
		if len(msgs) > 0 {
			sameAs(t, string(p.Pack()), msgs)
		}
	})
}

func TestAMessageThatIsTooLargeIsNotAdded(t *testing.T) {
	var p pack.Packer
	small, large := event(1, 100), event(2, 1000)
	if !p.Add(small, 500) || p.Add(large, 500) || p.Len() != 1 {
		t.Fatalf("%d messages are added", p.Len())
	}
	large.Payload, large.Metadata = nil, message.Metadata{strings.Repeat("k", 300): strings.Repeat("v", 300)}
	if p.Add(large, 500) {
		t.Error("metadata does not count")
	}
	p.Add(event(3, 10), 500)
	if p.Len() != 2 {
		t.Errorf("%d messages are added", p.Len())
	}
	small2 := p.Pack()
	if p.Len() != 0 || p.Size() != 0 {
		t.Errorf("%d messages, %d bytes are left", p.Len(), p.Size())
	}
	if read, err := pack.Parse(string(small2)); err != nil || read.Messages != 2 {
		t.Errorf("%+v, %v", read, err)
	}
}

// Payloads and metadata are the caller's: what is written to those of one message does
// not change another one.
func TestMessagesAreApart(t *testing.T) {
	read, err := pack.Parse(packed(t, event(1, 10), event(2, 10)))
	if err != nil {
		t.Fatal(err)
	}
	got, err := read.Unpack(nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = append(got[0].Payload, "more"...)
	if string(got[1].Payload) != string(event(2, 10).Payload) {
		t.Error("a payload was overwritten by the one before")
	}
	origin := got[1].Metadata[events.MetadataOrigin]
	got[0].Metadata[events.MetadataOrigin] = "changed"
	if got[1].Metadata[events.MetadataOrigin] != origin {
		t.Error("metadata is shared with the message before")
	}
}

func TestAnyFlippedBitIsFoundOrChangesOnlyBinaryData(t *testing.T) {
	msgs := []*message.Message{event(1, 100), event(2, 100)}
	good := packed(t, msgs...)
	for i := range len(good) {
		bad := []byte(good)
		bad[i] ^= 1 << rand.N(8)
		read, err := pack.Parse(string(bad))
		if err != nil {
			continue
		}
		got, err := read.Unpack(nil)
		if err != nil {
			continue
		}
		for n := range msgs { // Ids and hashes have no checksum, as in other entries.
			if !bytes.Equal(got[n].Payload, msgs[n].Payload) || len(got[n].Metadata) != len(msgs[n].Metadata) {
				t.Fatalf("byte %d: %+v", i, got[n])
			}
		}
	}
}

// A few bytes that say they are gigabytes cost nothing.
func TestABombIsRefused(t *testing.T) {
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	bomb := encoder.EncodeAll(make([]byte, 200<<20), nil)
	t.Logf("200 MiB in %d bytes", len(bomb))
	for name, head := range map[string][]byte{
		"that says so":       {1, 1, 0x80, 0x80, 0x80, 0x64, 0, 0, 0},
		"that says less":     {1, 1, 0x80, 0x80, 0x04, 0, 0, 0},
		"of many messages":   {1, 0xff, 0xff, 0xff, 0x7f, 10, 0, 0, 0},
		"of values":          {1, 1, 10, 0, 0, 0xff, 0xff, 0xff, 0x7f},
		"of payloads":        {1, 1, 10, 11, 0, 0},
		"of binary data":     {1, 1, 10, 0, 0xff, 0xff, 0x7f, 0},
		"of larger numbers":  {1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0, 0, 0},
		"of another version": {2, 1, 10, 0, 0, 0},
	} {
		read, err := pack.Parse(string(head) + string(bomb))
		if err == nil {
			_, err = read.Unpack(nil)
		}
		if !errors.Is(err, pack.ErrPack) {
			t.Errorf("a bomb %s: %v", name, err)
		}
	}
}

// What unpacks packs again to the same; nothing panics.
func FuzzUnpack(f *testing.F) {
	f.Add([]byte(packed(f, event(1, 50), event(2, 50))))
	f.Add([]byte(packed(f, message.NewMessage("", nil))))
	f.Add([]byte{1, 1, 4, 0, 0, 0})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		read, err := pack.Parse(string(data))
		if err != nil {
			return
		}
		got, err := read.Unpack(nil)
		if err != nil {
			return
		}
		var p pack.Packer
		msgs := make([]*message.Message, len(got))
		for i := range got {
			msgs[i] = message.NewMessage(got[i].UUID, got[i].Payload)
			msgs[i].Metadata = got[i].Metadata
			if !p.Add(msgs[i], 4*pack.MostBytes) {
				t.Fatal("larger than anything that is packed")
			}
		}
		sameAs(t, string(p.Pack()), msgs)
	})
}

// The head of a block is read as it was written, or refused: here it comes as it is,
// so that a fuzzer gets past the compression.
func FuzzBlock(f *testing.F) {
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("\x02\x01k\x04a\x04b\x00\x00\x04c\x07\x00\x00"), uint8(2), uint8(0), uint8(0), uint8(40))
	f.Add([]byte("\x01\x02\x00"), uint8(1), uint8(0), uint8(16), uint8(36))
	f.Fuzz(func(t *testing.T, block []byte, messages, payloads, binary, text uint8) {
		if len(block) > 127 || messages > 127 || payloads > 127 || binary > 127 || text > 127 {
			return
		}
		s := []byte{1, messages, byte(len(block)), payloads, binary, text}
		s = append(s, make([]byte, binary)...)
		read, err := pack.Parse(string(encoder.EncodeAll(block, s)))
		if err != nil {
			return
		}
		got, err := read.Unpack(nil)
		if err == nil && len(got) != int(messages) {
			t.Errorf("%d messages, says %d", len(got), messages)
		}
	})
}

func BenchmarkPack(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		msgs := make([]*message.Message, n)
		for i := range msgs {
			msgs[i] = event(i, 256)
		}
		s := packed(b, msgs...)
		per := func(b *testing.B) {
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/message")
			b.ReportMetric(float64(len(s))/float64(n), "B/message")
		}
		b.Run(fmt.Sprint("pack-", n), func(b *testing.B) {
			var p pack.Packer
			b.ReportAllocs()
			for b.Loop() {
				for _, msg := range msgs {
					p.Add(msg, most)
				}
				p.Pack()
			}
			per(b)
		})
		b.Run(fmt.Sprint("unpack-", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				read, _ := pack.Parse(s)
				if _, err := read.Unpack(nil); err != nil {
					b.Fatal(err)
				}
			}
			per(b)
		})
	}
}
