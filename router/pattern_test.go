package router

import (
	"testing"
)

func parsed(t testing.TB, text string) pattern {
	t.Helper()
	p, err := parsePattern("test", text)
	must(t, err)
	return p
}

func TestPatternMatches(t *testing.T) {
	for _, c := range []struct {
		pattern  string
		yes, not []string
	}{
		{"a.b", []string{"a.b"}, []string{"a", "a.b.c", "a.c", ""}},
		{"a.*", []string{"a.b"}, []string{"a", "a.", "a.b.c", "b.a", "a..b"}},
		{"*", []string{"a", "user-events"}, []string{"", "a.b"}},
		{"*.b.*", []string{"a.b.c"}, []string{"a.b", "a.c.b", "a.b.c.d"}},
		{"a.**", []string{"a.b", "a.b.c"}, []string{"a", "a.", "b.c"}},
		{"**", []string{"a", "a.b.c"}, []string{""}},
		{"*.**", []string{"a.b", "a.b.c"}, []string{"a"}},
	} {
		p := parsed(t, c.pattern)
		d := dispatcher{exact: map[string]*handler{}}
		d.add(&handler{pattern: p})
		for _, s := range c.yes {
			if !p.match(s) || d.find(s) == nil {
				t.Errorf("%q does not match %q", c.pattern, s)
			}
		}
		for _, s := range c.not {
			if p.match(s) || d.find(s) != nil {
				t.Errorf("%q matches %q", c.pattern, s)
			}
		}
	}
}

func TestPatternIsRefused(t *testing.T) {
	for _, text := range []string{"", ".", "a.", ".a", "a..b", "a b", "us*", "a.***", "**.a", "a.**.b", "*a"} {
		_, err := parsePattern("test", text)
		wantConfigError(t, err)
	}
}

func TestPatternCoversJustWhatItMatches(t *testing.T) {
	// All patterns of up to three segments against all types of up to four:
	// two literals and lengths beyond the patterns' are enough to tell any
	// two of them apart.
	var patterns []pattern
	var types []string
	var grow func(prefix string, depth int)
	grow = func(prefix string, depth int) {
		for _, s := range []string{"a", "b", "c", "*", "**"} {
			text := prefix + s
			if p, err := parsePattern("test", text); err == nil && depth < 3 && s != "c" {
				patterns = append(patterns, p)
			}
			if s == "*" || s == "**" {
				if s == "*" && depth < 2 {
					grow(text+".", depth+1)
				}
				continue
			}
			types = append(types, text)
			if depth < 3 {
				grow(text+".", depth+1)
			}
		}
	}
	grow("", 0)
	for _, p := range patterns {
		for _, q := range patterns {
			want := true
			for _, typ := range types {
				if q.match(typ) && !p.match(typ) {
					want = false
					break
				}
			}
			if got := p.covers(q); got != want {
				t.Errorf("%q covers %q: %v, want %v", p.text, q.text, got, want)
			}
		}
	}
}

func TestDispatchPrefersTheMoreSpecific(t *testing.T) {
	ordered := []string{"a.b.c", "a.b.*", "a.b.**", "a.*.c", "a.*.*", "a.*.**", "a.**", "*.b.c", "*.b.**", "*.*.c", "*.**", "**"}
	for reverse := range 2 {
		d := dispatcher{exact: map[string]*handler{}}
		for i := range ordered {
			if reverse == 1 {
				i = len(ordered) - 1 - i
			}
			d.add(&handler{pattern: parsed(t, ordered[i])})
		}
		// Taking away the winner each time must leave them in this order.
		for i, want := range ordered {
			h := d.find("a.b.c")
			if h == nil || h.pattern.text != want {
				t.Fatalf("place %d: got %+v, want %q", i, h, want)
			}
			remove(&d, h)
		}
	}
}

// remove rebuilds d without h.
func remove(d *dispatcher, h *handler) {
	var left []*handler
	for _, e := range d.exact {
		left = append(left, e)
	}
	var walk func(n *node)
	walk = func(n *node) {
		if n == nil {
			return
		}
		for _, e := range []*handler{n.here, n.rest} {
			if e != nil {
				left = append(left, e)
			}
		}
		for _, c := range n.literal {
			walk(c)
		}
		walk(n.star)
	}
	walk(&d.wild)
	*d = dispatcher{exact: map[string]*handler{}}
	for _, e := range left {
		if e != h {
			d.add(e)
		}
	}
}

func FuzzDispatchAgreesWithMatch(f *testing.F) {
	f.Add("a.*.c", "a.**", "a.b.c")
	f.Add("**", "*", "x")
	f.Fuzz(func(t *testing.T, one, two, eventType string) {
		d := dispatcher{exact: map[string]*handler{}}
		want := false
		for _, text := range []string{one, two} {
			p, err := parsePattern("fuzz", text)
			if err != nil {
				continue
			}
			d.add(&handler{pattern: p})
			want = want || p.match(eventType)
		}
		if got := d.find(eventType) != nil; got != want {
			t.Errorf("%q, %q on %q: found %v, want %v", one, two, eventType, got, want)
		}
	})
}
