package router

import (
	"strings"
)

// wildcards of a pattern
const (
	oneSegment   = "*"
	manySegments = "**"
)

// pattern selects event types. It is either an event type, or has wildcards
// among its dot-separated segments: * stands for exactly one segment, ** for
// one or more and only at the end.
type pattern struct {
	text     string
	segments []string
	wild     bool
}

// parsePattern reads a pattern. field says, in the error, where it stands.
func parsePattern(field, text string) (pattern, error) {
	p := pattern{text: text, segments: strings.Split(text, ".")}
	refuse := func(problem, remedy string) (pattern, error) {
		return pattern{}, configError(field, text, problem, remedy)
	}
	if text == "" {
		return refuse("is empty", `name an event type such as "user.created", or a pattern such as "user.*"`)
	}
	if strings.ContainsAny(text, " \t\r\n") {
		return refuse("holds white space", "event types have none")
	}
	for i, s := range p.segments {
		switch {
		case s == "":
			return refuse("has an empty segment", "separate non-empty segments by single dots")
		case s == oneSegment:
			p.wild = true
		case s == manySegments:
			if i != len(p.segments)-1 {
				return refuse("has ** before its end", "use ** as the last segment only, and * for one segment elsewhere")
			}
			p.wild = true
		case strings.Contains(s, "*"):
			return refuse("has a * inside a segment", "a wildcard stands for whole segments: * for one, ** for one or more at the end")
		}
	}
	return p, nil
}

// match reports whether the pattern selects an event type.
func (p pattern) match(eventType string) bool {
	if !p.wild {
		return p.text == eventType
	}
	rest, more := eventType, true
	for _, want := range p.segments {
		if !more || want == manySegments {
			return more && rest != ""
		}
		var got string
		got, rest, more = strings.Cut(rest, ".")
		if got == "" || want != oneSegment && want != got {
			return false
		}
	}
	return !more
}

// covers reports whether p selects every event type that q selects.
func (p pattern) covers(q pattern) bool {
	for i, s := range p.segments {
		switch {
		case i >= len(q.segments):
			return false
		case s == manySegments:
			return true // q, too, wants at least one segment here.
		case q.segments[i] == manySegments:
			return false // q selects types of any length, p up to here does not.
		case s != oneSegment && s != q.segments[i]:
			return false
		}
	}
	return len(p.segments) == len(q.segments)
}
