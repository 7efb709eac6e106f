package validation_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/logistically/events"
	"github.com/logistically/events/internal/webhooks"
	"github.com/logistically/events/validation"
)

// webhookData is loaded and compiled once: tests only read it.
var webhookData = sync.OnceValues(func() (*validation.Registry, error) {
	all, err := webhooks.Load()
	if err != nil {
		return nil, err
	}
	document, err := webhooks.Schema()
	if err != nil {
		return nil, err
	}
	types := map[string]string{}
	for _, e := range all {
		types[e.Type] = "#/definitions/" + e.Definition
	}
	r, err := validation.NewRegistry(validation.Config{})
	if err != nil {
		return nil, err
	}
	return r, r.AddDocument("github-webhooks.json", document, types)
})

func webhookRegistry(tb testing.TB) (*validation.Registry, []webhooks.Event) {
	tb.Helper()
	all, err := webhooks.Load()
	if err != nil {
		tb.Fatal(err)
	}
	r, err := webhookData()
	if err != nil {
		tb.Fatal(err)
	}
	return r, all
}

func TestVerdictsOnRealWebhooksEqualTheRecordedOnes(t *testing.T) {
	r, all := webhookRegistry(t)
	valid, invalid := 0, 0
	for i, e := range all {
		err := r.Validate(t.Context(), e.Type, e.Body)
		if (err == nil) != e.Valid {
			t.Errorf("event %d, %s: got %v, recorded %v %v", i, e.Type, err, e.Valid, e.Errors)
			continue
		}
		if err == nil {
			valid++
			continue
		}
		invalid++
		found, ok := errors.AsType[*events.ValidationError](err)
		if !ok {
			t.Errorf("event %d, %s: %v", i, e.Type, err)
			continue
		}
		var got, want []string
		for _, f := range found.Findings {
			got = append(got, f.Pointer)
		}
		for _, line := range e.Errors {
			pointer, keyword, _ := strings.Cut(line, " ")
			// The recording validator also reports the branching keyword above the
			// faults of its branches; ours reports the faults.
			if !slices.Contains([]string{"oneOf", "anyOf", "if"}, keyword) {
				want = append(want, pointer)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if got, want = slices.Compact(got), slices.Compact(want); !slices.Equal(got, want) {
			t.Errorf("event %d, %s: found faults at %q, recorded %q", i, e.Type, got, want)
		}
	}
	t.Logf("%d valid, %d not, of %d", valid, invalid, len(all))
	if valid != 206 || invalid != 43 {
		t.Errorf("%d valid and %d not, want 206 and 43", valid, invalid)
	}
}

func FuzzValidateNeverPanics(f *testing.F) {
	r, all := webhookRegistry(f)
	for _, e := range all[:5] {
		f.Add([]byte(e.Body))
	}
	f.Add([]byte(strings.Repeat("[", 20_000)))
	f.Add([]byte("{\"a\":\"\xff\"}"))
	f.Fuzz(func(t *testing.T, body []byte) {
		err := r.Validate(t.Context(), all[0].Type, body)
		if _, ok := errors.AsType[*events.ValidationError](err); err != nil && !ok {
			t.Errorf("not a verdict: %v", err)
		}
	})
}
