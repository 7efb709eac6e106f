// Package middlewaretest checks a middleware against the contract that those of package
// middleware keep, so that it works in any order with others, in package router and in
// Watermill's:
//
//   - a handler that succeeds runs once, and what it returns is passed on
//   - the message that the handler gets is the one that came
//   - the error of a handler that fails is passed on, and so is its class
//   - a panic passes, or becomes an error, and leaves the middleware working
//   - the handler's context has the values of the message's, ends with it and has its cause
//   - afterwards the message has a context that has not ended
//   - the message is settled by the router alone: neither acked nor nacked here
//   - it returns, when the message's context has ended, without success if no handler ran
//   - messages do not wait for one another, and are not mixed up
//
// A middleware that breaks one of these on purpose, as one that drops duplicates does,
// is tested with the others: see [Without].
package middlewaretest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Rule is one sentence of the contract, by a short name.
type Rule string

// Rules of the contract.
const (
	RunsOnce        Rule = "runs once"
	SameMessage     Rule = "same message"
	PassesErrors    Rule = "passes errors"
	KeepsClasses    Rule = "keeps classes"
	SurvivesPanics  Rule = "survives panics"
	PassesContext   Rule = "passes context"
	RestoresContext Rule = "restores context"
	NeverSettles    Rule = "never settles"
	Returns         Rule = "returns"
	Concurrent      Rule = "concurrent"
)

var checks = []struct {
	rule  Rule
	check func(build Build) error
}{
	{RunsOnce, runsOnce},
	{SameMessage, sameMessage},
	{PassesErrors, passesErrors},
	{KeepsClasses, keepsClasses},
	{SurvivesPanics, survivesPanics},
	{PassesContext, passesContext},
	{RestoresContext, restoresContext},
	{NeverSettles, neverSettles},
	{Returns, returns},
	{Concurrent, concurrent},
}

// Build makes the middleware, anew for each rule.
type Build func() message.HandlerMiddleware

// Option changes what is checked.
type Option func(*config)

type config struct{ without []Rule }

// Without leaves out rules that the middleware breaks on purpose.
func Without(rules ...Rule) Option {
	return func(c *config) { c.without = append(c.without, rules...) }
}

// Run checks a middleware, each rule as a subtest. It takes a second or so for one that
// waits, as a retry does; run it with -race.
func Run(t *testing.T, build Build, options ...Option) {
	t.Helper()
	for _, c := range selected(options) {
		t.Run(strings.ReplaceAll(string(c.rule), " ", "_"), func(t *testing.T) {
			if err := c.check(build); err != nil {
				t.Error(err)
			}
		})
	}
}

// Check is Run without package testing's subtests: it returns a *BrokenError for each
// rule that is broken, joined, or nil.
func Check(build Build, options ...Option) error {
	var broken []error
	for _, c := range selected(options) {
		if err := c.check(build); err != nil {
			broken = append(broken, &BrokenError{c.rule, err})
		}
	}
	return errors.Join(broken...)
}

// BrokenError says that a middleware breaks a rule, and how.
type BrokenError struct {
	Rule Rule
	Err  error
}

func (e *BrokenError) Error() string { return fmt.Sprintf("%s: %v", e.Rule, e.Err) }

// Unwrap returns how the rule is broken.
func (e *BrokenError) Unwrap() error { return e.Err }

func selected(options []Option) (all []struct {
	rule  Rule
	check func(build Build) error
}) {
	var cfg config
	for _, o := range options {
		o(&cfg)
	}
	for _, c := range checks {
		if !slices.Contains(cfg.without, c.rule) {
			all = append(all, c)
		}
	}
	return all
}
