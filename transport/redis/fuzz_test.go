package redis

import (
	"errors"
	"fmt"
	"github.com/ThreeDotsLabs/watermill/message"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

// nested makes of bytes what go-redis may make of a reply: strings, numbers, nulls,
// flags, errors, and lists of them.
func nested(data []byte, depth int) (values []any, rest []byte) {
	for len(data) > 0 {
		c := data[0]
		data = data[1:]
		switch {
		case c == ']':
			return values, data
		case c == '[' && depth < 4:
			var list []any
			list, data = nested(data, depth+1)
			values = append(values, list)
		case c == 'n':
			values = append(values, nil)
		case c == '!':
			values = append(values, errors.New("ERR"))
		case c == '?':
			values = append(values, true)
		case c == '#':
			values = append(values, int64(len(data)))
		default:
			n := min(int(c%16), len(data))
			values = append(values, string(data[:n]))
			data = data[n:]
		}
	}
	return values, nil
}

// Whatever comes is read or refused, and nothing is read that is not there.
func FuzzAutoClaim(f *testing.F) {
	for _, seed := range []string{"", "\x030-0[][]", "\x030-0[\x031-1\x031-2][\x031-3]", "\x030-0[n]", "\x030-0", "n[][]", "#[\x031-1]", "\x030-0\x031-1!", "[][][]"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		values, _ := nested(data, 0)
		next, ids, deleted, err := readAutoClaim(values)
		text := fmt.Sprint(values...)
		if err != nil {
			if !errors.Is(err, errReply) || next != "" || ids != nil || deleted != nil {
				t.Errorf("%q: %q, %q, %q, %v", text, next, ids, deleted, err)
			}
			return
		}
		for _, s := range append(append(ids, deleted...), next) {
			if !strings.Contains(text, s) {
				t.Errorf("%q: read %q", text, s)
			}
		}
	})
}

// An entry of a retry stream may hold anything, too.
func FuzzEntry(f *testing.F) {
	f.Add("1700000000000-1", "", "", "", "uuid", "", []byte("{}"), true)
	f.Add("1-1", "2", "7-1", "1000", "uuid", "\x81\xa1a\xa1b", []byte(nil), true)
	f.Add("", "99999999999999999999", "-", "-1", "", "\xc1", []byte("\x00"), false)
	f.Add("18446744073709551615-18446744073709551615", "-5", "x", "9223372036854775807", "", "\xc0", []byte("p"), true)
	f.Fuzz(func(t *testing.T, id, attempt, origin, stored, uuid, metadata string, payload []byte, retry bool) {
		var b strings.Builder
		for _, s := range []string{fieldAttempt, attempt, fieldOrigin, origin, fieldStored, stored, fieldUUID, uuid, fieldMetadata, metadata, fieldPayload, string(payload)} {
			fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(s), s)
		}
		raw := reply{fmt.Sprintf("*1\r\n*2\r\n$%d\r\n%s\r\n*12\r\n%s", len(id), id, b.String())}
		entries, err := raw.entries(nil)
		if err != nil || len(entries) != 1 || raw.text != "" {
			t.Fatalf("%v, left %q", err, raw.text)
		}
		closed := &receiver{arrived: make(chan struct{}, 1), cfg: SubscriberConfig{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}}
		if decodes := func() bool { return decode(new(message.Message), entries[0].known, nil) == nil }(); !decodes {
			return // It would be buried, which takes a server.
		}
		closed.accept(&stream{topic: "t", key: "t", retry: retry}, entries, nil, time.Now(), 0)
		d := &closed.queue[0].Delivery
		if d.Message.UUID != uuid || string(d.Message.Payload) != string(payload) || d.Topic != "t" || !retry && (d.ID != id || d.Attempt != 1) {
			t.Errorf("delivery %+v", d)
		}
		if d.Attempt < 1 {
			t.Errorf("attempt %d", d.Attempt)
		}
		// What it says of itself is the same after one more retry.
		packed, err := msgpack.Marshal(closed.queue[0].again(closed.queue[0].fields, d.Attempt+1))
		if err != nil {
			t.Fatal(err)
		}
		var fields []string
		if err := msgpack.Unmarshal(packed, &fields); err != nil {
			t.Fatal(err)
		}
		next := &entry{record: &record{stream: &stream{retry: true}}}
		for i := 0; i < len(fields); i += 2 {
			next.fields.set(fields[i], fields[i+1])
		}
		next.restore()
		if next.Attempt != d.Attempt+1 || d.ID != "" && next.ID != d.ID || next.Stored.UnixMilli() != d.Stored.UnixMilli() || next.fields.payload != string(payload) {
			t.Errorf("after a retry %+v, before %+v", next.Delivery, d)
		}
	})
}

// Ids are put in the server's order.
func FuzzIDs(f *testing.F) {
	f.Add("1-2", "1-10", "2-0")
	f.Add("", "x", "18446744073709551615-0")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		if compareIDs(a, a) != 0 || compareIDs(a, b) != -compareIDs(b, a) {
			t.Errorf("%q and %q have no order", a, b)
		}
		if compareIDs(a, b) < 0 && compareIDs(b, c) < 0 && compareIDs(a, c) >= 0 {
			t.Errorf("%q, %q and %q have no order", a, b, c)
		}
		_ = storedAt(a)
	})
}
