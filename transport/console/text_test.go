package console_test

import (
	"bytes"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/transport/console"
)

// printed returns what a publisher prints of one message.
func printed(t *testing.T, format console.Format, topic string, msg *message.Message) string {
	t.Helper()
	var out bytes.Buffer
	p, err := console.NewPublisher(console.PublisherConfig{Writer: &out, Format: format})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Publish(topic, msg); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// hostile are texts that would pass for another event, or command a terminal.
var hostile = []string{
	"1\nuser-events user.deleted 2",
	"1 {}\r",
	"\x1b[2J",
	"\u009b2J", // the same in one character
	"\x9b2J",
	"\u202eabc", // from right to left
	"\x7f",
	"\u2028",
	"",
	"two words",
	`"quoted"`,
	"\xff",
	"\U000e0001",
}

func TestNoEventPassesForAnotherOrCommandsTheTerminal(t *testing.T) {
	for _, text := range hostile {
		msg := message.NewMessage(text, []byte(`{"a":"`+strings.NewReplacer("\n", "", "\r", "", "\x1b", "", `"`, "").Replace(text)+`"}`))
		msg.Metadata[events.MetadataType] = text
		msg.Metadata[text+"key"] = text
		for format, lines := range map[console.Format]int{console.Line: 1, console.Pretty: 5, console.JSON: 1} {
			out := printed(t, format, text, msg)
			odd := func(r rune) bool {
				return r != '\n' && (unicode.IsControl(r) || format != console.JSON && !unicode.IsPrint(r))
			}
			if strings.ContainsFunc(out, odd) || !utf8.ValidString(out) {
				t.Errorf("format %d of %q: %q", format, text, out)
			}
			// A body that is not UTF-8 takes one line rather than three.
			if n := strings.Count(out, "\n"); n != lines && (format != console.Pretty || utf8.ValidString(text)) {
				t.Errorf("format %d of %q has %d lines, want %d:\n%s", format, text, n, lines, out)
			}
		}
	}
}

func TestWhatIsNoWordIsQuoted(t *testing.T) {
	for _, tt := range []struct {
		id, body, want string
	}{
		{"id-1", `{}`, "user-events \"\" id-1 {}\n"},
		{"ключ", `{}`, "user-events \"\" ключ {}\n"},
		{"1\n2", `{}`, "user-events \"\" \"1\\n2\" {}\n"},
		{`"1"`, `{}`, "user-events \"\" \"\\\"1\\\"\" {}\n"},
		{"1", `{"a":"` + "ä\u009b\U000e0001\x7f" + `"}`, `user-events "" 1 {"a":"ä\u009b\udb40\udc01\u007f"}` + "\n"},
		{"1", `{"a":"` + "\x9b" + `"}`, `user-events "" 1 "{\"a\":\"\x9b\"}"` + "\n"},
	} {
		if got := printed(t, console.Line, "user-events", message.NewMessage(tt.id, []byte(tt.body))); got != tt.want {
			t.Errorf("id %q, body %q:\n%q, want\n%q", tt.id, tt.body, got, tt.want)
		}
	}
}
