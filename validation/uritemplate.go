package validation

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// The grammar of RFC 6570, sections 2.1 to 2.4. The schema library's own check
// of "uri-template" refuses the operators of levels 2 and 3, such as {/sha}.
var expression = regexp.MustCompile(`^[+#./;?&=,!@|]?` + variable + `(,` + variable + `)*$`)

const (
	character = `([A-Za-z0-9_]|%[0-9A-Fa-f]{2})`
	variable  = character + `(\.?` + character + `)*(:[1-9][0-9]{0,3}|\*)?`
)

func checkURITemplate(v any) error {
	rest, ok := v.(string)
	if !ok {
		return nil
	}
	for rest != "" {
		literal, after, found := strings.Cut(rest, "{")
		if strings.ContainsAny(literal, "}\"'<>\\^`| ") {
			return fmt.Errorf("%q is not allowed outside of an expression", literal)
		}
		if !found {
			return nil
		}
		inner, after, closed := strings.Cut(after, "}")
		if !closed {
			return errors.New("an expression is not closed")
		}
		if !expression.MatchString(inner) {
			return fmt.Errorf("{%s} is no expression", inner)
		}
		rest = after
	}
	return nil
}
