package validation

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
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
	var faults report
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		faults.add(nil, ruleJSON, err.Error())
		return document{}, faults
	}
	// Duplicate names are seen only in the text, and finding them costs a map for
	// each object. Counting costs next to nothing: the value has fewer members
	// than the text exactly if names occur twice.
	var t tally
	if !t.within(value, 0) || t.members != countMembers(text) {
		faults = search(text)
	}
	return document{value: value, heavy: t.weight > maxWeight}, faults
}

// tally is what there is in a value.
type tally struct {
	members int // of all objects
	weight  int // the sum of the depths of all values
}

// within counts value, which is inside depth others, and reports whether its
// depth and numbers are within their limits. If not, it stops.
func (t *tally) within(value any, depth int) bool {
	t.weight += depth + 1
	switch v := value.(type) {
	case map[string]any:
		if depth >= maxDepth {
			return false
		}
		t.members += len(v)
		for _, inner := range v {
			if !t.within(inner, depth+1) {
				return false
			}
		}
	case []any:
		if depth >= maxDepth {
			return false
		}
		for _, inner := range v {
			if !t.within(inner, depth+1) {
				return false
			}
		}
	case json.Number:
		return numberWithinLimits(string(v))
	}
	return true
}

func numberWithinLimits(number string) bool {
	if len(number) > maxNumber {
		return false
	}
	e := strings.IndexAny(number, "eE")
	if e < 0 {
		return true
	}
	exponent, err := strconv.Atoi(number[e+1:])
	return err == nil && -maxExponent <= exponent && exponent <= maxExponent
}

// countMembers counts the members of all objects in a valid JSON text: its
// colons outside of strings.
func countMembers(text []byte) int {
	n := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case ':':
			n++
		case '"':
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		}
	}
	return n
}

// search says what it is that decode has noticed, and where.
func search(text []byte) report {
	s := searcher{dec: json.NewDecoder(bytes.NewReader(text))}
	s.dec.UseNumber()
	if err := s.value(nil); err != nil && !errors.Is(err, errTooDeep) {
		s.add(nil, ruleJSON, err.Error())
	}
	return s.report
}

type searcher struct {
	report
	dec *json.Decoder
}

var errTooDeep = errors.New("nested too deep")

// value looks at the next value, which is at path.
func (s *searcher) value(path []string) error {
	token, err := s.dec.Token()
	if err != nil {
		return err
	}
	switch t := token.(type) {
	case json.Number:
		if !numberWithinLimits(string(t)) {
			s.add(path, ruleJSON, fmt.Sprintf("a number has at most %d characters and an exponent of at most %d", maxNumber, maxExponent))
		}
		return nil
	case json.Delim:
		if len(path) >= maxDepth {
			s.add(nil, ruleJSON, fmt.Sprintf("more than %d arrays and objects are inside one another", maxDepth))
			return errTooDeep // what is deeper is not looked at
		}
		if t == '[' {
			err = s.array(path)
		} else {
			err = s.object(path)
		}
		if err != nil {
			return err
		}
		_, err = s.dec.Token() // the closing bracket
		return err
	}
	return nil
}

func (s *searcher) array(path []string) error {
	for i := 0; s.dec.More(); i++ {
		if err := s.value(append(path, strconv.Itoa(i))); err != nil {
			return err
		}
	}
	return nil
}

func (s *searcher) object(path []string) error {
	times := map[string]int{}
	for s.dec.More() {
		token, err := s.dec.Token()
		if err != nil {
			return err
		}
		name, _ := token.(string) // The decoder accepts nothing else here.
		at := append(path, name)
		if times[name]++; times[name] == 2 {
			s.add(at, ruleJSON, "the object has this name more than once")
		}
		if err := s.value(at); err != nil {
			return err
		}
	}
	return nil
}
