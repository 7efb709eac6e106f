package redis

import (
	"io"
	"strings"
	"testing"
)

// readInto reads a reply as go-redis does: heads are written, strings are copied.
func readInto(t *testing.T, b *replyBuffer, head, body string) string {
	t.Helper()
	b.reset()
	if _, err := b.Write([]byte(head)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(b, strings.NewReader(body+"of the next reply"), int64(len(body))); err != nil {
		t.Fatal(err)
	}
	return b.reply().text
}

func TestARepliesTextDoesNotChangeWithTheNextReply(t *testing.T) {
	var b replyBuffer
	first := readInto(t, &b, "$3\r\n", "abc\r\n")
	second := readInto(t, &b, "$5\r\n", "defgh\r\n")
	if first != "$3\r\nabc\r\n" || second != "$5\r\ndefgh\r\n" {
		t.Errorf("read %q and %q", first, second)
	}
}

func TestALargeReplysMemoryIsLetGoWhenSmallOnesFollow(t *testing.T) {
	var b replyBuffer
	large := strings.Repeat("x", 4<<20)
	readInto(t, &b, "", large)
	readInto(t, &b, "", large)
	if n := cap(b.bytes); n < len(large) {
		t.Errorf("%d bytes are kept while replies are large", n)
	}
	readInto(t, &b, "", "small")
	readInto(t, &b, "", "small")
	if n := cap(b.bytes); n > 64<<10 {
		t.Errorf("%d bytes are kept while replies are small", n)
	}
}

func TestAReplyThatEndsTooEarlyIsAnError(t *testing.T) {
	var b replyBuffer
	if _, err := io.CopyN(&b, strings.NewReader("abc"), 5); err == nil {
		t.Error("no error")
	}
}
