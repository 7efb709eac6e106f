package redis

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	goredis "github.com/redis/go-redis/v9"
)

// resp writes a reply shorter than it reads: "*2 $k $v" has lengths and line ends added.
func resp(words string) string {
	var b strings.Builder
	for word := range strings.FieldsSeq(words) {
		if s, ok := strings.CutPrefix(word, "$"); ok && s != "-1" {
			word = fmt.Sprintf("$%d\r\n%s", len(s), s)
		}
		b.WriteString(word + "\r\n")
	}
	return b.String()
}

// describe is what a reply of XREADGROUP has in it.
func describe(text string) (string, error) {
	var b strings.Builder
	err := reply{text}.streams(new([]rawEntry), func(key string, entries []rawEntry) {
		fmt.Fprintf(&b, "%s:", key)
		for _, e := range entries {
			fmt.Fprintf(&b, " %s%v", e.id, e.values())
		}
		b.WriteString(";")
	})
	return b.String(), err
}

const twoStreams = "t: 1-0[a b] 1-1[]; u: 2-0[c ];"

var streamsReplies = map[string]string{ // reply to what it means
	resp("*2 *2 $t *2 *2 $1-0 *2 $a $b *2 $1-1 *0 *2 $u *1 *2 $2-0 *2 $c $"): strings.ReplaceAll(twoStreams, "; ", ";"),
	resp("%2 $t *2 *2 $1-0 *2 $a $b *2 $1-1 *0 $u *1 *2 $2-0 *2 $c $"):       strings.ReplaceAll(twoStreams, "; ", ";"),
	resp("*-1"):                        "",
	resp("_"):                          "",
	resp("*0"):                         "",
	resp("%0"):                         "",
	resp("*1 *2 $t *0"):                "t:;",
	resp("*1 *2 $t *-1"):               "t:;",
	resp("*1 *2 $t _"):                 "t:;",
	resp("*1 *2 $t *1 *2 $1-0 *-1"):    "t: 1-0[];", // pending, and deleted
	resp("%1 $t *1 *2 $1-0 _"):         "t: 1-0[];",
	resp("*1 *2 $t *2 *-1 *2 $1-0 *0"): "t: 1-0[];",
	resp("%1 $t *1 *2 $1-0 %1 $a $b"):  "t: 1-0[a b];",
}

func TestRepliesAreReadInBothProtocols(t *testing.T) {
	for text, want := range streamsReplies {
		got, err := describe(text)
		if err != nil || got != want {
			t.Errorf("%q: %q, %v, want %q", text, got, err, want)
		}
	}
}

func TestAFieldOfAReplyMayHoldAnything(t *testing.T) {
	value := "\r\n$3\r\n*-1\r\n"
	text := fmt.Sprintf("*1\r\n*2\r\n$3\r\n1-0\r\n*4\r\n$7\r\npayload\r\n$%d\r\n%s\r\n$0\r\n\r\n$0\r\n\r\n", len(value), value)
	raw := reply{text}
	entries, err := raw.entries(nil)
	if err != nil || len(entries) != 1 || entries[0].known.payload != value || raw.text != "" {
		t.Errorf("%+v, %v, left %q", entries, err, raw.text)
	}
	if all := entries[0].values(); !slices.Equal(all, []any{"payload", value, "", ""}) {
		t.Errorf("fields %q", all)
	}
}

var brokenReplies = []string{
	"", "\r\n", "*", "*1", "+OK\r\n", ":1\r\n", "$2\r\nab\r\n", "*-2\r\n", "*x\r\n", "*1\r\n*3\r\n", "*1\r\n*2\r\n$1\r\nt",
	"*1\r\n*2\r\n$1\r\nt\r\n$1\r\nx\r\n", "*1\r\n*2\r\n$-1\r\n*0\r\n", "*1\r\n*2\r\n$9\r\nt\r\n*0\r\n", "*1\r\n*2\r\n$1\r\ntoo\r\n*0\r\n",
	"*1\r\n*2\r\n$9223372036854775807\r\nt\r\n*0\r\n", "*9223372036854775807\r\n", "%4611686018427387904\r\n", "*1000000000\r\n*2\r\n",
	"*1\r\n*2\r\n$1\r\nt\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*9223372036854775807\r\n", "*1\r\n*2\r\n$1\r\nt\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$-1\r\n$1\r\nv\r\n",
}

func TestRepliesThatAreNoneAreRefused(t *testing.T) {
	for _, text := range brokenReplies {
		if got, err := describe(text); !errors.Is(err, errReply) {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for whole := range streamsReplies {
		for n := range len(whole) {
			if got, err := describe(whole[:n]); err == nil {
				t.Errorf("%q: cut off, and read as %q", whole[:n], got)
			}
		}
	}
}

func TestErrorsInAReplyAreTheServers(t *testing.T) {
	for _, text := range []string{"-NOGROUP No such key\r\n", "*1\r\n-NOGROUP No such key\r\n", "*1\r\n*2\r\n$1\r\nt\r\n-NOGROUP No such key\r\n"} {
		_, err := describe(text)
		if _, ok := errors.AsType[goredis.Error](err); !ok || !hasCode(err, "NOGROUP") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// Whatever comes is read or refused.
func FuzzReply(f *testing.F) {
	for text := range streamsReplies {
		f.Add(text)
	}
	for _, text := range brokenReplies {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		check := func(entries []rawEntry) {
			for i := range entries {
				e := &entries[i]
				if all := e.values(); len(all) != max(e.count, 0) {
					t.Errorf("%d fields and values, said to be %d", len(all), e.count)
				}
			}
		}
		_ = reply{text}.streams(new([]rawEntry), func(_ string, entries []rawEntry) { check(entries) })
		entries, err := (&reply{text}).entries(nil)
		if err == nil {
			check(entries)
		}
	})
}
