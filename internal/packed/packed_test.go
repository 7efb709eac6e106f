package packed_test

import (
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/internal/packed"
)

func TestMessagesComeBackAsTheyWere(t *testing.T) {
	a, b := message.NewMessage("a", []byte("\x00\xff")), message.NewMessage("", nil)
	a.Metadata["ключ"] = "зна\nчение"
	bytes, err := packed.Pack([]*message.Message{a, b})
	if err != nil {
		t.Fatal(err)
	}
	got, err := packed.Unpack(bytes)
	if err != nil || len(got) != 2 || !got[0].Equals(a) || !got[1].Equals(b) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, none := range [][]byte{nil, {}} {
		if got, err := packed.Unpack(none); len(got) != 0 || err != nil {
			t.Errorf("of nothing: %v, %v", got, err)
		}
	}
	if bytes, err := packed.Pack(nil); bytes != nil || err != nil {
		t.Errorf("nothing: %q, %v", bytes, err)
	}
	if _, err := packed.Pack([]*message.Message{nil}); err == nil {
		t.Error("a nil message was packed")
	}
	if _, err := packed.Unpack([]byte("{")); err == nil {
		t.Error("what is no message was unpacked")
	}
}
