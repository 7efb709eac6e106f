package validation

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/logistically/events"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// A body may be wrong in as many places as it has values, and a finding may
// quote all of it. Findings are logged and become metadata of dead letters, so
// they must stay small whatever the body is.
const (
	maxFindings = 100
	maxPointer  = 512  // bytes
	maxMessage  = 1024 // bytes
	maxValue    = 64   // bytes
	// maxGathered is how many findings are looked at before those that are equal
	// have become one. Branches of a schema often say the same.
	maxGathered = 10 * maxFindings
)

// report gathers findings. Its zero value is empty.
type report struct {
	findings []events.Finding
	omitted  int // how many more there were
}

func (r *report) empty() bool { return len(r.findings) == 0 }

// full counts a finding that there is no more room for.
func (r *report) full() bool {
	if len(r.findings) < maxGathered {
		return false
	}
	r.omitted++
	return true
}

func (r *report) add(pointer, rule, message string) {
	r.addFinding(events.Finding{Pointer: pointer, Rule: rule, Message: message})
}

func (r *report) addFinding(f events.Finding) {
	if r.full() {
		return
	}
	f.Pointer, f.Message, f.Value = shorten(f.Pointer, maxPointer), shorten(f.Message, maxMessage), shorten(f.Value, maxValue)
	r.findings = append(r.findings, f)
}

// addAll adds the findings that a function returned.
func (r *report) addAll(findings []events.Finding) {
	for _, f := range findings {
		r.addFinding(f)
	}
}

// addLeaves adds the leaves of what the schema library found in doc: what is above
// them only says which branches of the schema led there.
func (r *report) addLeaves(e *jsonschema.ValidationError, doc any, s *schema) {
	for _, cause := range e.Causes {
		r.addLeaves(cause, doc, s)
	}
	if len(e.Causes) > 0 {
		return
	}
	if r.omitted > 0 || len(r.findings) >= maxGathered {
		r.omitted++
		return
	}
	rule := "schema"
	switch k := e.ErrorKind.(type) {
	case *kind.Not:
		rule = "not"
	case *kind.FalseSchema:
		rule = "false"
	case *kind.AdditionalProperties:
		slices.Sort(k.Properties) // They come in the order of a map.
	}
	if path := e.ErrorKind.KeywordPath(); len(path) > 0 {
		rule = path[0]
	}
	path := e.InstanceLocation
	if n := s.secrets.within(s.compiled, path); n >= 0 {
		// Not even the names below it: a map may be keyed by what is secret.
		r.addFinding(events.Finding{Pointer: pointer(path[:n]), Rule: rule, Message: "breaks this rule; the value is sensitive and not shown", Value: redacted})
		return
	}
	r.addFinding(events.Finding{Pointer: pointer(path), Rule: rule, Message: e.ErrorKind.LocalizedString(printer), Value: display(valueAt(doc, path))})
}

// redacted stands for a value that its schema marks "x-sensitive".
const redacted = "[redacted]"

// valueAt returns what is at a path that the schema library has reported.
func valueAt(value any, path []string) any {
	for _, segment := range path {
		switch v := value.(type) {
		case map[string]any:
			value = v[segment]
		case []any:
			i, err := strconv.Atoi(segment)
			if err != nil || i < 0 || i >= len(v) {
				return nil
			}
			value = v[i]
		}
	}
	return value
}

// display shows a value as JSON; of objects and arrays only that they are such,
// since what is inside may be sensitive.
func display(value any) string {
	switch v := value.(type) {
	case map[string]any:
		return "{…}"
	case []any:
		return "[…]"
	case string:
		value = shorten(v, maxValue-2)
	}
	text, err := events.JSON.Marshal(value)
	if err != nil {
		return "" // cannot be: it was JSON
	}
	return string(text)
}

var printer = message.NewPrinter(language.English)

// verdict is nil or a *events.ValidationError.
func (r *report) verdict(eventType string) error {
	if r.empty() {
		return nil
	}
	slices.SortFunc(r.findings, func(a, b events.Finding) int {
		return cmp.Or(cmp.Compare(a.Pointer, b.Pointer), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Message, b.Message))
	})
	found := slices.Compact(r.findings)
	if more := len(found) - maxFindings; more > 0 {
		r.omitted += more
		found = found[:maxFindings]
	}
	if r.omitted > 0 {
		found = append(found, events.Finding{Rule: "findings", Message: fmt.Sprintf("%d more findings are not listed", r.omitted)})
	}
	return &events.ValidationError{Type: eventType, Findings: slices.Clip(found)}
}

var escapePointer = strings.NewReplacer("~", "~0", "/", "~1")

// pointer joins path segments to a JSON Pointer (RFC 6901). It reads no more
// of them than it can use: a name may be as long as a body.
func pointer(path []string) string {
	var b strings.Builder
	for _, segment := range path {
		if b.Len() > maxPointer {
			break
		}
		b.WriteByte('/')
		b.WriteString(escapePointer.Replace(segment[:min(len(segment), maxPointer+1)]))
	}
	return shorten(b.String(), maxPointer)
}

// shorten cuts text to a number of bytes, between characters, and marks the cut.
func shorten(text string, most int) string {
	if len(text) <= most {
		return text
	}
	const mark = "…"
	cut := most - len(mark)
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return strings.Clone(text[:cut]) + mark // a clone, lest it keep all of text
}
