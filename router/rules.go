package router

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/logistically/events"
)

// Finding is something wrong with how a router is put together. docs/RULES.md
// explains each of them.
type Finding struct {
	ID      string `json:"id"`      // such as "EV001"
	Refused bool   `json:"refused"` // Run does not start with it; otherwise it logs a warning
	Where   string `json:"where"`   // such as `handler "user.*"`
	Problem string `json:"problem"`
	Remedy  string `json:"remedy"`
}

func (f Finding) String() string {
	return fmt.Sprintf("%s: %s: %s: %s", f.ID, f.Where, f.Problem, f.Remedy)
}

// FindingsError is returned by [Router.Check] and [Router.Run] for findings
// that are certain to be mistakes.
type FindingsError struct {
	Findings []Finding // at least one, each of them Refused
}

func (e *FindingsError) Error() string {
	var b strings.Builder
	b.WriteString("router: put together wrongly (docs/RULES.md; Config.Silence takes ids that are meant so)")
	for _, f := range e.Findings {
		b.WriteString("; " + f.String())
	}
	return b.String()
}

// rule is one way to put a router together wrongly.
type rule struct {
	id      string
	refused bool
	problem string
	remedy  string
	// find says where the rule is broken. The caller holds the router's lock.
	find func(r *Router) (where []string)
}

var rules = []rule{
	{"EV001", true, "the poison queue is inside a retry: the first failed attempt is final, and is never retried",
		"put middleware.PoisonQueue before middleware.Retry", chains(func(chain []string) bool { return within(chain, poisonQueue, retry) })},
	{"EV002", false, "idempotency is outside of a retry: the claim of the event has to last for all attempts and the waits between them",
		"put middleware.Idempotency after middleware.Retry, next to the handler", chains(func(chain []string) bool { return within(chain, retry, idempotency) })},
	{"EV003", false, "there are two retries around the handler: their attempts multiply",
		"leave one of the middleware.Retry out", chains(func(chain []string) bool { return twice(chain, retry) })},
	{"EV004", false, "there are two idempotencies around the handler: with the same Scope the inner one waits for the claim of the outer one until the event is given up",
		"leave one of the middleware.Idempotency out, or give them different scopes", chains(func(chain []string) bool { return twice(chain, idempotency) })},
	{"EV005", true, "the pattern is never matched: others that are more specific take everything that it matches",
		`remove the handler, or one of the others`, (*Router).shadowed},
	{"EV006", true, "the fallback never runs: ** matches every event type",
		"remove the fallback, or the handler of **", (*Router).idleFallback},
	{"EV007", false, "no event of this type is received if publishers use events.DefaultTopic",
		"add the topic of the pattern's first segment to Config.Topics", (*Router).unheard},
	{"EV008", false, "what the handler publishes goes to a topic that this router receives from, and comes back to the same handler",
		"publish to another topic, or register the handler for the types that it does not publish", (*Router).loops},
	{"EV009", true, "the poison queue is inside a circuit breaker: that sees permanent errors only, and never opens",
		"put middleware.PoisonQueue before middleware.CircuitBreaker", chains(func(chain []string) bool { return within(chain, poisonQueue, circuitBreaker) })},
	{"EV010", false, "the retry is inside a circuit breaker: the first messages of an outage use up their attempts before it opens",
		"put middleware.CircuitBreaker after middleware.Retry", chains(func(chain []string) bool { return within(chain, retry, circuitBreaker) })},
	{"EV011", false, "what waits (circuit breaker, rate limit) is inside a timeout: the wait uses up the handler's time",
		"put middleware.Timeout after middleware.CircuitBreaker and middleware.RateLimit", chains(func(chain []string) bool {
			return within(chain, circuitBreaker, timeout) || within(chain, rateLimit, timeout)
		})},
	{"EV012", false, "the circuit breaker is inside of idempotency: the claim of the event has to last while it waits",
		"put middleware.Idempotency after middleware.CircuitBreaker, next to the handler", chains(func(chain []string) bool { return within(chain, circuitBreaker, idempotency) })},
}

// What the middleware that rules are about is called. Package middleware is not
// imported here: a router without it does not link it.
const (
	poisonQueue    = "github.com/logistically/events/middleware.PoisonQueue"
	retry          = "github.com/logistically/events/middleware.Retry"
	idempotency    = "github.com/logistically/events/middleware.Idempotency"
	circuitBreaker = "github.com/logistically/events/middleware.CircuitBreaker"
	rateLimit      = "github.com/logistically/events/middleware.RateLimit"
	timeout        = "github.com/logistically/events/middleware.Timeout"
)

// Findings returns what looks wrong about how the router is put together, by
// rule. Rules about middleware recognise that of package middleware by name,
// and not inside of a function that wraps it. Ids in [Config.Silence] are left out.
func (r *Router) Findings() []Finding {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.findings()
}

// findings is Findings for callers that hold the lock.
func (r *Router) findings() (found []Finding) {
	for _, rule := range rules {
		if slices.Contains(r.cfg.Silence, rule.id) {
			continue
		}
		for _, where := range rule.find(r) {
			found = append(found, Finding{rule.id, rule.refused, where, rule.problem, rule.remedy})
		}
	}
	return found
}

// Check returns the error with which Run would refuse to start, as far as that
// can be told without the transport: a *FindingsError, or the errors of refused
// registrations. It logs nothing. It is meant for a test of how a service is
// put together.
func (r *Router) Check() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	errs := slices.Clone(r.refused)
	if !r.started { // Run has added it to the refused registrations.
		errs = append(errs, refusal(r.findings()))
	}
	return errors.Join(errs...)
}

// inspect is the part of Run, once: it logs what is not refused, and has the
// rest refused with the registrations that are. The caller holds the lock.
func (r *Router) inspect() {
	if r.started {
		return
	}
	found := r.findings()
	for _, f := range found {
		if !f.Refused {
			r.cfg.Logger.Warn("the router is perhaps put together wrongly", "finding", f.ID, "where", f.Where, "problem", f.Problem, "remedy", f.Remedy)
		}
	}
	if err := refusal(found); err != nil {
		r.refused = append(r.refused, err)
	}
}

// refusal returns the error of the findings that are refused, if there are any.
func refusal(found []Finding) error {
	found = slices.DeleteFunc(slices.Clone(found), func(f Finding) bool { return !f.Refused })
	if len(found) == 0 {
		return nil
	}
	return &FindingsError{found}
}

// checkSilence refuses ids that no rule has: a typing error would silence nothing.
func (c *Config) checkSilence() error {
	for _, id := range c.Silence {
		if !slices.ContainsFunc(rules, func(r rule) bool { return r.id == id }) {
			return configError("Config.Silence", id, "is the id of no rule", "use ids of docs/RULES.md")
		}
	}
	return nil
}

// chains makes a rule's find of what is wrong with a chain of middleware,
// given as the names of their makers, outermost first.
func chains(wrong func(chain []string) bool) func(r *Router) []string {
	return func(r *Router) (where []string) {
		for _, h := range r.all {
			var chain []string
			for _, mw := range h.layers() {
				chain = append(chain, maker(mw))
			}
			if wrong(chain) {
				where = append(where, h.where())
			}
		}
		return where
	}
}

func (h *handler) where() string { return fmt.Sprintf("handler %q", h.pattern.text) }

// within reports whether a middleware is somewhere inside of another.
func within(chain []string, inner, outer string) bool {
	i := slices.Index(chain, outer)
	return i >= 0 && slices.Contains(chain[i:], inner)
}

func twice(chain []string, name string) bool {
	i := slices.Index(chain, name)
	return i >= 0 && slices.Contains(chain[i+1:], name)
}

// shadowed finds patterns "x.**" beside "x.*" and "x.*.**": the first takes
// types with one more segment, the other those with more.
func (r *Router) shadowed() (where []string) {
	has := func(text string) bool {
		return slices.ContainsFunc(r.all, func(h *handler) bool { return h.pattern.text == text })
	}
	for _, h := range r.all {
		prefix, ok := strings.CutSuffix(h.pattern.text, manySegments)
		if ok && has(prefix+oneSegment) && has(prefix+oneSegment+"."+manySegments) {
			where = append(where, h.where())
		}
	}
	return where
}

func (r *Router) idleFallback() (where []string) {
	if r.handlers.fallback == nil {
		return nil
	}
	for _, h := range r.all {
		if h.pattern.text == manySegments {
			where = append(where, r.handlers.fallback.where())
		}
	}
	return where
}

// unheard finds patterns whose events have another topic by events.DefaultTopic.
// It goes by topics that are named so, or so with a prefix, and says nothing
// where topics have names of another kind.
func (r *Router) unheard() (where []string) {
	if slices.ContainsFunc(r.cfg.Topics, func(t string) bool { return !strings.HasSuffix(t, "-events") }) {
		return nil
	}
	for _, h := range r.all {
		if len(h.pattern.segments) == 0 || strings.HasPrefix(h.pattern.text, oneSegment) {
			continue
		}
		topic := events.DefaultTopic(h.pattern.text)
		if !slices.ContainsFunc(r.cfg.Topics, func(t string) bool { return strings.HasSuffix(t, topic) }) {
			where = append(where, h.where())
		}
	}
	return where
}

// loops finds handlers of everything that publish to a topic they receive from.
func (r *Router) loops() (where []string) {
	for _, h := range r.all {
		if h.pattern.text == manySegments && h.route.Publisher != nil && slices.Contains(r.cfg.Topics, h.route.Topic) {
			where = append(where, h.where())
		}
	}
	return where
}
