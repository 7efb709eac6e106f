package console

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
)

func pretty(text *bytes.Buffer, topic string, msg *message.Message) {
	fmt.Fprintf(text, "%s  %s  %s\n", word(msg.Metadata[events.MetadataType]), word(topic), word(msg.UUID))
	for _, key := range slices.Sorted(maps.Keys(msg.Metadata)) {
		if key != events.MetadataType {
			fmt.Fprintf(text, "  %s: %q\n", word(key), msg.Metadata[key])
		}
	}
	var body bytes.Buffer
	// Indent keeps the space at the end, which may be any.
	if utf8.Valid(msg.Payload) && json.Indent(&body, bytes.TrimRight(msg.Payload, " \t\r\n"), "  ", "  ") == nil {
		fmt.Fprintf(text, "  %s\n", escape(body.Bytes(), func(r rune) bool { return r == '\n' || unicode.IsPrint(r) }))
	} else {
		fmt.Fprintf(text, "  %q\n", []byte(msg.Payload))
	}
}

// oneLine returns a body such that it cannot break the line or the terminal.
func oneLine(body []byte) string {
	var compact bytes.Buffer
	if utf8.Valid(body) && json.Compact(&compact, body) == nil {
		return string(escape(compact.Bytes(), unicode.IsPrint))
	}
	return fmt.Sprintf("%q", body)
}

// word returns s such that it is one word of a line: as it is, or quoted. The quote
// at its beginning sets the second apart from the first.
func word(s string) string {
	odd := func(r rune) bool { return r == ' ' || r == utf8.RuneError || !unicode.IsPrint(r) }
	if s == "" || s[0] == '"' || strings.ContainsFunc(s, odd) {
		return strconv.Quote(s)
	}
	return s
}

// escape returns a JSON text, in UTF-8, with escape sequences for all that is not
// plain. JSON allows such characters in strings only, where the sequence means
// the same.
func escape(text []byte, plain func(rune) bool) []byte {
	if !bytes.ContainsFunc(text, func(r rune) bool { return !plain(r) }) {
		return text
	}
	var escaped []byte
	for _, r := range string(text) {
		switch {
		case plain(r):
			escaped = utf8.AppendRune(escaped, r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			escaped = fmt.Appendf(escaped, `\u%04x\u%04x`, high, low)
		default:
			escaped = fmt.Appendf(escaped, `\u%04x`, r)
		}
	}
	return escaped
}
