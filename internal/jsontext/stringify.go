package jsontext

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

var (
	// ErrSyntax says that a text is no JSON (RFC 8259).
	ErrSyntax = errors.New("no valid JSON")
	// ErrNumber says that JavaScript has no such number.
	ErrNumber = errors.New("a number that JavaScript would change")
)

// Stringify appends to dst what JSON.stringify(JSON.parse(src)) returns in
// JavaScript (ECMA-262, sections 25.5.2 and 6.1.6.1.20): no white space, members in
// their order except that names which are array indices come first, the last one of
// members with the same name, numbers in the shortest form of a double, no
// escapes but those that must be.
//
// Where JavaScript would make another number of one, silently, it returns an error
// that wraps ErrNumber: of an integer that a double does not hold, and of one that
// is out of range.
func Stringify(dst, src []byte) ([]byte, error) {
	if !utf8.Valid(src) {
		return nil, fmt.Errorf("%w: it is not UTF-8", ErrSyntax)
	}
	w := writer{src: src, out: dst}
	w.at = skipSpace(src, 0)
	if err := w.value(0); err != nil {
		return nil, err
	}
	if w.at = skipSpace(src, w.at); w.at < len(src) {
		return nil, w.syntax()
	}
	return w.out, nil
}

// writer reads src and writes out.
type writer struct {
	src, out []byte
	at       int // in src
	members  []member
}

// member is where a member of an object is in out.
type member struct{ start, colon, end int }

func (w *writer) syntax() error {
	return fmt.Errorf("%w: at byte %d of %d", ErrSyntax, w.at, len(w.src))
}

// next moves on to what follows white space, and reports whether that is c.
func (w *writer) next(c byte) bool {
	w.at = skipSpace(w.src, w.at)
	return w.at < len(w.src) && w.src[w.at] == c
}

func (w *writer) value(depth int) error {
	if w.at >= len(w.src) {
		return w.syntax()
	}
	start := w.at
	switch w.src[start] {
	case '{':
		return w.object(depth + 1)
	case '[':
		return w.array(depth + 1)
	case '"':
		return w.text()
	}
	end, ok := skipValue(w.src, start, depth)
	if !ok {
		return w.syntax()
	}
	w.at = end
	if c := w.src[start]; c != '-' && !isDigit(c) { // a word
		w.out = append(w.out, w.src[start:end]...)
		return nil
	}
	return w.number(string(w.src[start:end]))
}

// more reports whether another element or member follows, and moves on to it; if
// not, it has passed the bracket at the end.
func (w *writer) more(first bool, end byte) (bool, error) {
	switch {
	case w.next(end):
		w.at++
		return false, nil
	case first:
		return true, nil
	case !w.next(','):
		return false, w.syntax()
	}
	w.out = append(w.out, ',')
	w.at = skipSpace(w.src, w.at+1)
	return true, nil
}

func (w *writer) array(depth int) error {
	if depth > mostNesting {
		return w.syntax()
	}
	w.out = append(w.out, '[')
	w.at++
	for first := true; ; first = false {
		more, err := w.more(first, ']')
		if err != nil {
			return err
		}
		if !more {
			w.out = append(w.out, ']')
			return nil
		}
		if err := w.value(depth); err != nil {
			return err
		}
	}
}

func (w *writer) object(depth int) error {
	if depth > mostNesting {
		return w.syntax()
	}
	w.out = append(w.out, '{')
	w.at++
	base, from := len(w.members), len(w.out)
	for first := true; ; first = false {
		more, err := w.more(first, '}')
		if err != nil {
			return err
		}
		if !more {
			break
		}
		if err := w.member(depth); err != nil {
			return err
		}
	}
	if members := w.members[base:]; w.outOfOrder(members) {
		w.arrange(from, members)
	}
	w.members = w.members[:base]
	w.out = append(w.out, '}')
	return nil
}

func (w *writer) member(depth int) error {
	if !w.next('"') {
		return w.syntax()
	}
	m := member{start: len(w.out)}
	if err := w.text(); err != nil {
		return err
	}
	if !w.next(':') {
		return w.syntax()
	}
	m.colon = len(w.out)
	w.out = append(w.out, ':')
	w.at = skipSpace(w.src, w.at+1)
	if err := w.value(depth); err != nil {
		return err
	}
	m.end = len(w.out)
	w.members = append(w.members, m)
	return nil
}

// name returns a member's name, in quotes.
func (w *writer) name(m member) []byte { return w.out[m.start:m.colon] }

// outOfOrder reports whether the members are not those of a JavaScript object in its
// order: whether a name is an array index, or comes twice.
func (w *writer) outOfOrder(members []member) bool {
	for _, m := range members {
		if _, ok := arrayIndex(w.name(m)); ok {
			return true
		}
	}
	if len(members) > 16 {
		seen := make(map[string]bool, len(members))
		for _, m := range members {
			seen[string(w.name(m))] = true
		}
		return len(seen) < len(members)
	}
	for i, m := range members {
		for _, other := range members[:i] {
			if bytes.Equal(w.name(m), w.name(other)) {
				return true
			}
		}
	}
	return false
}

// arrange puts the members that were written from there on into the order of a
// JavaScript object. Of those with the same name the last one takes the place of the first.
func (w *writer) arrange(from int, members []member) {
	written := bytes.Clone(w.out[from:])
	last := make(map[string]member, len(members))
	for _, m := range members {
		last[string(w.name(m))] = m
	}
	order := make([]member, 0, len(last))
	for _, m := range members {
		if final, ok := last[string(w.name(m))]; ok {
			order = append(order, final)
			delete(last, string(w.name(m)))
		}
	}
	slices.SortStableFunc(order, func(a, b member) int {
		i, _ := arrayIndex(written[a.start-from : a.colon-from])
		j, _ := arrayIndex(written[b.start-from : b.colon-from])
		return cmp.Compare(i, j)
	})
	w.out = w.out[:from]
	for i, m := range order {
		if i > 0 {
			w.out = append(w.out, ',')
		}
		w.out = append(w.out, written[m.start-from:m.end-from]...)
	}
}

// arrayIndex returns the array index that a name in quotes is, or MaxUint32 and
// false (ECMA-262, section 6.1.7).
func arrayIndex(quoted []byte) (index uint64, ok bool) {
	text := quoted[1 : len(quoted)-1]
	if len(text) == 0 || len(text) > 10 || !isDigit(text[0]) || text[0] == '0' && len(text) > 1 {
		return math.MaxUint32, false
	}
	n, err := strconv.ParseUint(string(text), 10, 32)
	if err != nil {
		return math.MaxUint32, false
	}
	return n, n < math.MaxUint32
}

// text copies a string (ECMA-262, section 25.5.2.3, QuoteJSONString).
func (w *writer) text() error {
	end, ok := skipString(w.src, w.at+1)
	if !ok {
		return w.syntax()
	}
	inner := w.src[w.at+1 : end-1]
	w.at = end
	w.out = append(w.out, '"')
	for i := 0; ; {
		start := i
		i = skipText(inner, i)
		w.out = append(w.out, inner[start:i]...)
		if i >= len(inner) {
			break
		}
		var r rune
		r, i = unescape(inner, i)
		w.out = appendEscaped(w.out, r)
	}
	w.out = append(w.out, '"')
	return nil
}

// AppendText appends a string as JSON.stringify writes it. What is no UTF-8 becomes U+FFFD.
func AppendText(dst []byte, s string) []byte {
	s = strings.ToValidUTF8(s, "\uFFFD")
	dst = append(dst, '"')
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' {
			dst = appendEscaped(dst, rune(c))
		} else {
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

// appendEscaped appends a character, escaped if it must be.
func appendEscaped(dst []byte, r rune) []byte {
	switch {
	case r == '"', r == '\\':
		return append(dst, '\\', byte(r))
	case r < ' ':
		if i := strings.IndexRune("\b\f\n\r\t", r); i >= 0 {
			return append(dst, '\\', "bfnrt"[i])
		}
	case !utf16.IsSurrogate(r):
		return utf8.AppendRune(dst, r)
	}
	const digits = "0123456789abcdef"
	return append(dst, '\\', 'u', digits[r>>12&15], digits[r>>8&15], digits[r>>4&15], digits[r&15])
}

// number writes a number (ECMA-262, section 6.1.6.1.20, Number::toString).
func (w *writer) number(text string) error {
	const exact = 15 // A double holds any integer of so many digits.
	integer := !strings.ContainsAny(text, ".eE")
	if integer && len(text) <= exact && text != "-0" {
		w.out = append(w.out, text...)
		return nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return fmt.Errorf("%w: %.40s is out of range: write it as a string", ErrNumber, text)
	}
	start := len(w.out)
	w.out = appendNumber(w.out, f)
	if integer && f != 0 && !sameInteger(text, f) {
		return fmt.Errorf("%w: %.40s would be %s: write it as a string", ErrNumber, text, w.out[start:])
	}
	return nil
}

func appendNumber(dst []byte, f float64) []byte {
	if f == 0 {
		return append(dst, '0')
	}
	if abs := math.Abs(f); abs >= 1e-6 && abs < 1e21 {
		return strconv.AppendFloat(dst, f, 'f', -1, 64)
	}
	start := len(dst)
	dst = strconv.AppendFloat(dst, f, 'e', -1, 64)
	// strconv writes exponents of one digit as two.
	if n := len(dst); n-start >= 4 && dst[n-4] == 'e' && dst[n-2] == '0' {
		dst = append(dst[:n-2], dst[n-1])
	}
	return dst
}

// sameInteger reports whether the shortest form of f has the digits of an integer.
func sameInteger(text string, f float64) bool {
	shortest := strconv.FormatFloat(math.Abs(f), 'f', -1, 64)
	return shortest == strings.TrimPrefix(text, "-")
}
