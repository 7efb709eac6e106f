package validation

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// What a body may be beside valid JSON. Each limit is far over what events
// need, and keeps a short body from costing seconds or gigabytes.
const (
	// maxDepth is how many arrays and objects may be inside one another: what a
	// schema that refers to itself costs grows with its square.
	maxDepth = 256
	// maxExponent and maxNumber limit a number's exponent and its text. The
	// schema library computes exactly: for 1e999999 it works with a million
	// digits. A float64 ends at 1e308.
	maxExponent = 400
	maxNumber   = 1000
)

// maxWeight is up to where faults are described one by one. The schema library
// holds the path of each, also of those that it forgives because another branch
// of a oneOf fits: a body of 1 MB took it to 10 GB. 1 MB of ordinary events, some
// 40 000 values at depth 4, is well below.
const maxWeight = 1 << 18

// ruleJSON is the rule of findings that concern the text, not the schema.
const ruleJSON = "json"

// document is a JSON text and its value, as the schema library wants it: with
// numbers as json.Number.
type document struct {
	value any
	// heavy is set where to describe every fault could cost gigabytes.
	heavy bool
}

// decode returns a document, or what is wrong with the text.
func decode(text []byte) (document, report) {
	p := parser{text: string(text)}
	value, ok := p.value(0)
	if ok && (p.space() != 0 || p.at < len(p.text)) {
		p.unexpected("the end")
	}
	return document{value: value, heavy: p.weight > maxWeight}, p.faults
}

// parser reads a JSON text once: into values, and against the limits above. It
// accepts what encoding/json accepts, except invalid UTF-8, names that occur
// twice, and what is over a limit. The decoder of encoding/json reads a text
// twice, and would leave all of that to be looked for afterwards.
type parser struct {
	text   string
	at     int    // the next byte
	weight int    // the sum of the depths of all values
	path   []step // of the value being read
	// members and items hold what has been read of the arrays and objects that
	// are still open, so that each is made in one piece, of the right size.
	members []member
	items   []any
	faults  report
}

type member struct {
	name  string
	value any
}

// step is one segment of a path: a member's name, or an item's index.
type step struct {
	name  string
	index int
	item  bool
}

// value reads the next value, which is inside depth others. It returns false
// where reading cannot go on.
func (p *parser) value(depth int) (any, bool) {
	p.weight += depth + 1
	switch c := p.space(); c {
	case '"':
		return boxed(p.quoted())
	case '{', '[':
		if depth >= maxDepth {
			p.faults.add("", ruleJSON, fmt.Sprintf("more than %d arrays and objects are inside one another", maxDepth))
			return nil, false
		}
		p.at++
		if c == '{' {
			return p.object(depth)
		}
		return p.array(depth)
	case 't':
		return true, p.literal("true")
	case 'f':
		return false, p.literal("false")
	case 'n':
		return nil, p.literal("null")
	default:
		if c == '-' || '0' <= c && c <= '9' {
			return p.number()
		}
		return nil, p.unexpected("a value")
	}
}

func boxed(s string, ok bool) (any, bool) { return s, ok }

func (p *parser) object(depth int) (any, bool) {
	first := len(p.members)
	if p.space() != '}' {
		for {
			if p.space() != '"' {
				return nil, p.unexpected("a member's name in quotes")
			}
			name, ok := p.quoted()
			if !ok {
				return nil, false
			}
			if p.space() != ':' {
				return nil, p.unexpected("a colon")
			}
			p.at++
			p.path = append(p.path, step{name: name})
			value, ok := p.value(depth + 1)
			if !ok {
				return nil, false
			}
			p.path = p.path[:len(p.path)-1]
			p.members = append(p.members, member{name, value})
			if p.space() != ',' {
				break
			}
			p.at++
		}
	}
	if p.space() != '}' {
		return nil, p.unexpected("a comma or }")
	}
	p.at++
	object := make(map[string]any, len(p.members)-first)
	for i, m := range p.members[first:] {
		object[m.name] = m.value
		if len(object) != i+1 {
			p.twice(p.members[first:])
			break
		}
	}
	p.members = p.members[:first]
	return object, true
}

// twice reports the names that an object has more than once.
func (p *parser) twice(members []member) {
	times := make(map[string]int, len(members))
	for _, m := range members {
		if times[m.name]++; times[m.name] == 2 {
			p.path = append(p.path, step{name: m.name})
			p.fault("the object has this name more than once")
			p.path = p.path[:len(p.path)-1]
		}
	}
}

func (p *parser) array(depth int) (any, bool) {
	first := len(p.items)
	if p.space() != ']' {
		for {
			p.path = append(p.path, step{index: len(p.items) - first, item: true})
			value, ok := p.value(depth + 1)
			if !ok {
				return nil, false
			}
			p.path = p.path[:len(p.path)-1]
			p.items = append(p.items, value)
			if p.space() != ',' {
				break
			}
			p.at++
		}
	}
	if p.space() != ']' {
		return nil, p.unexpected("a comma or ]")
	}
	p.at++
	array := make([]any, len(p.items)-first)
	copy(array, p.items[first:])
	p.items = p.items[:first]
	return array, true
}

func (p *parser) literal(word string) bool {
	if !strings.HasPrefix(p.text[p.at:], word) {
		return p.unexpected(word)
	}
	p.at += len(word)
	return true
}

// number reads a number and holds it against the limits.
func (p *parser) number() (any, bool) {
	start := p.at
	if p.text[p.at] == '-' {
		p.at++
	}
	if p.next() == '0' {
		p.at++
	} else if !p.digits() {
		return nil, false
	}
	if p.next() == '.' {
		if p.at++; !p.digits() {
			return nil, false
		}
	}
	exponent := p.next() == 'e' || p.next() == 'E'
	from := p.at + 1
	if exponent {
		if p.at++; p.next() == '+' || p.next() == '-' {
			p.at++
		}
		if !p.digits() {
			return nil, false
		}
	}
	text := p.text[start:p.at]
	within := len(text) <= maxNumber
	if within && exponent {
		e, err := strconv.Atoi(p.text[from:p.at])
		within = err == nil && -maxExponent <= e && e <= maxExponent
	}
	if !within {
		p.fault(fmt.Sprintf("a number has at most %d characters and an exponent of at most %d", maxNumber, maxExponent))
	}
	return json.Number(text), true
}

// digits reads one digit or more.
func (p *parser) digits() bool {
	start := p.at
	for p.at < len(p.text) && '0' <= p.text[p.at] && p.text[p.at] <= '9' {
		p.at++
	}
	return p.at > start || p.unexpected("a digit")
}

// next is the next byte, 0 at the end.
func (p *parser) next() byte {
	if p.at < len(p.text) {
		return p.text[p.at]
	}
	return 0
}

// space skips white space and returns the byte after it, 0 at the end.
func (p *parser) space() byte {
	for p.at < len(p.text) {
		switch c := p.text[p.at]; c {
		case ' ', '\n', '\t', '\r':
			p.at++
		default:
			return c
		}
	}
	return 0
}

// unexpected says what stands where something else should, and returns false.
func (p *parser) unexpected(want string) bool {
	if p.at >= len(p.text) {
		p.faults.add("", ruleJSON, fmt.Sprintf("not JSON: it ends at byte %d, where %s should be", p.at, want))
		return false
	}
	r, size := utf8.DecodeRuneInString(p.text[p.at:])
	got := strconv.QuoteRune(r)
	if r == utf8.RuneError && size == 1 {
		got = fmt.Sprintf("byte 0x%02x", p.text[p.at])
	}
	p.faults.add("", ruleJSON, fmt.Sprintf("not JSON: at byte %d is %s, where %s should be", p.at, got, want))
	return false
}

// fault reports what is wrong with the value being read.
func (p *parser) fault(message string) {
	if p.faults.full() {
		return
	}
	path := make([]string, len(p.path))
	for i, s := range p.path {
		if path[i] = s.name; s.item {
			path[i] = strconv.Itoa(s.index)
		}
	}
	p.faults.add(pointer(path), ruleJSON, message)
}
