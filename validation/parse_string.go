package validation

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// quoted reads a string or a member's name. What has no escapes in it is a part of
// the text, not a copy.
func (p *parser) quoted() (string, bool) {
	p.at++ // the opening quote
	start, ascii := p.at, true
	for ; p.at < len(p.text); p.at++ {
		switch c := p.text[p.at]; {
		case c == '"':
			s := p.text[start:p.at]
			p.at++
			return s, ascii || p.isUTF8(s)
		case c == '\\':
			return p.escaped(start)
		case c < ' ':
			return "", p.unexpected("anything but a control character")
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return "", p.unexpected("the closing quote of a string")
}

// isUTF8 reports bytes that are no characters: readers would understand them
// each in their own way. Reading goes on after them.
func (p *parser) isUTF8(s string) bool {
	if !utf8.ValidString(s) {
		p.fault("a string or name here is not valid UTF-8")
	}
	return true
}

// escaped reads on where the first escape of a string is.
func (p *parser) escaped(start int) (string, bool) {
	var b strings.Builder
	for p.at < len(p.text) {
		switch c := p.text[p.at]; {
		case c == '"':
			b.WriteString(p.text[start:p.at])
			p.at++
			return b.String(), p.isUTF8(b.String())
		case c == '\\':
			b.WriteString(p.text[start:p.at])
			r, ok := p.escape()
			if !ok {
				return "", false
			}
			b.WriteRune(r)
			start = p.at
		case c < ' ':
			return "", p.unexpected("anything but a control character")
		default:
			p.at++
		}
	}
	return "", p.unexpected("the closing quote of a string")
}

const escapes = `"\/bfnrt`

// escape reads one escape. Half of a surrogate pair becomes U+FFFD, as in
// encoding/json.
func (p *parser) escape() (rune, bool) {
	p.at++ // the backslash
	c := p.next()
	if i := strings.IndexByte(escapes, c); i >= 0 {
		p.at++
		return rune("\"\\/\b\f\n\r\t"[i]), true
	}
	if c != 'u' {
		return 0, p.unexpected(`one of "\/bfnrtu after a backslash`)
	}
	p.at++
	r, ok := p.hex()
	if !ok {
		return 0, p.unexpected(`four hexadecimal digits after \u`)
	}
	if !utf16.IsSurrogate(r) {
		return r, true
	}
	if strings.HasPrefix(p.text[p.at:], `\u`) {
		back := p.at
		p.at += 2
		if second, ok := p.hex(); ok {
			if whole := utf16.DecodeRune(r, second); whole != utf8.RuneError {
				return whole, true
			}
		}
		p.at = back // what follows stands for itself
	}
	return utf8.RuneError, true
}

// hex reads four hexadecimal digits.
func (p *parser) hex() (rune, bool) {
	if len(p.text)-p.at < 4 {
		return 0, false
	}
	n, err := strconv.ParseUint(p.text[p.at:p.at+4], 16, 16)
	if err != nil {
		return 0, false
	}
	p.at += 4
	return rune(n), true
}
