package router_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/router"
)

// wrong are routers that each break one rule, and no other.
var wrong = map[string]struct {
	topics  []string
	compose func(r *router.Router, m mws, pub message.Publisher) error
	where   string
}{
	"EV001": {nil, func(r *router.Router, m mws, _ message.Publisher) error {
		r.Use(m.tracing, m.retry)
		return errors.Join(r.HandleMessage("user.created", nothing, own, m.poisonQueue), r.HandleMessage("user.deleted", nothing))
	}, `handler "user.created"`},
	"EV002": {nil, func(r *router.Router, m mws, _ message.Publisher) error {
		r.Use(m.poisonQueue, m.idempotency, m.retry)
		return r.HandleMessage("user.created", nothing)
	}, `handler "user.created"`},
	"EV003": {nil, func(r *router.Router, m mws, _ message.Publisher) error {
		r.Use(m.poisonQueue, m.retry)
		return errors.Join(r.Group(m.retry).HandleMessage("user.created", nothing), r.HandleMessage("user.deleted", nothing))
	}, `handler "user.created"`},
	"EV004": {nil, func(r *router.Router, m mws, _ message.Publisher) error {
		r.Use(m.idempotency)
		return r.HandleMessage("user.created", nothing, m.idempotency)
	}, `handler "user.created"`},
	"EV009": {nil, func(r *router.Router, m mws, _ message.Publisher) error {
		r.Use(m.circuitBreaker, m.poisonQueue)
		return r.HandleMessage("user.created", nothing)
	}, `handler "user.created"`},
	"EV010": {nil, func(r *router.Router, m mws, _ message.Publisher) error {
		r.Use(m.circuitBreaker, m.retry)
		return r.HandleMessage("user.created", nothing)
	}, `handler "user.created"`},
	"EV011": {nil, func(r *router.Router, m mws, _ message.Publisher) error {
		r.Use(m.retry, m.timeout)
		return errors.Join(r.HandleMessage("user.created", nothing, m.rateLimit), r.HandleMessage("user.deleted", nothing))
	}, `handler "user.created"`},
	"EV012": {nil, func(r *router.Router, m mws, _ message.Publisher) error {
		r.Use(m.idempotency, m.circuitBreaker, m.timeout)
		return r.HandleMessage("user.created", nothing)
	}, `handler "user.created"`},
	"EV005": {nil, func(r *router.Router, _ mws, _ message.Publisher) error {
		return errors.Join(r.HandleMessage("user.**", nothing), r.HandleMessage("user.*", nothing), r.HandleMessage("user.*.**", nothing))
	}, `handler "user.**"`},
	"EV006": {nil, func(r *router.Router, _ mws, _ message.Publisher) error {
		return errors.Join(r.HandleMessage("**", nothing), r.Fallback(nothing))
	}, `handler "(fallback)"`},
	"EV007": {[]string{"user-events", "billing:payment-events"}, func(r *router.Router, _ mws, _ message.Publisher) error {
		return errors.Join(r.HandleMessage("order.*", nothing), r.HandleMessage("payment.*", nothing), r.HandleMessage("*.created", nothing), r.Fallback(nothing))
	}, `handler "order.*"`},
	"EV008": {nil, func(r *router.Router, _ mws, pub message.Publisher) error {
		pass := func(msg *message.Message) ([]*message.Message, error) { return nil, nil }
		return errors.Join(r.HandleAndPublish("**", pass, pub, "user-events"), r.HandleAndPublish("user.created", pass, pub, "user-events"))
	}, `handler "**"`},
}

// ended returns a context that has ended, with which Run does no more than begin.
func ended(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

func composed(t *testing.T, id string, cfg router.Config) *router.Router {
	t.Helper()
	_, pub, sub := onMemory(t)
	cfg.Subscriber, cfg.Topics = sub, []string{"user-events"}
	if topics := wrong[id].topics; topics != nil {
		cfg.Topics = topics
	}
	r := made[*router.Router](t)(router.New(cfg))
	if err := wrong[id].compose(r, newMiddleware(t), pub); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEachRuleFindsWhatBreaksItAndCanBeSilenced(t *testing.T) {
	for id, tt := range wrong {
		t.Run(id, func(t *testing.T) {
			var log bytes.Buffer
			r := composed(t, id, router.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
			found := r.Findings()
			if len(found) != 1 || found[0].ID != id || found[0].Where != tt.where {
				t.Fatalf("found %v", found)
			}
			if described := r.Describe().Findings; !slices.Equal(described, found) {
				t.Errorf("described %v", described)
			}
			checked := r.Check()
			if log.Len() > 0 {
				t.Errorf("Check has logged %s", &log)
			}
			err := r.Run(ended(t))
			if fmt.Sprint(err) != fmt.Sprint(checked) {
				t.Errorf("Run returns %v, Check %v", err, checked)
			}
			if again := r.Check(); fmt.Sprint(again) != fmt.Sprint(checked) {
				t.Errorf("after Run, Check returns %v", again)
			}
			refused, ok := errors.AsType[*router.FindingsError](err)
			switch {
			case ok != found[0].Refused:
				t.Errorf("refused is %v, Run returns %v", found[0].Refused, err)
			case ok && (!slices.Equal(refused.Findings, found) || !strings.Contains(err.Error(), id) || !strings.Contains(err.Error(), found[0].Remedy) || log.Len() > 0):
				t.Errorf("Run returns %v", err)
			case !ok && (err != nil || strings.Count(log.String(), "finding="+id) != 1):
				t.Errorf("Run returns %v and has logged %s", err, &log)
			}

			log.Reset()
			r = composed(t, id, router.Config{Logger: slog.New(slog.NewTextHandler(&log, nil)), Silence: []string{id}})
			if found, err := r.Findings(), r.Run(ended(t)); len(found) > 0 || err != nil || log.Len() > 0 {
				t.Errorf("silenced: found %v, Run returns %v, logged %s", found, err, &log)
			}
		})
	}
}

func TestACompositionInTheRecommendedOrderHasNoFindings(t *testing.T) {
	_, _, sub := onMemory(t)
	r := made[*router.Router](t)(router.New(router.Config{Subscriber: sub, Topics: []string{"user-events"}, Logger: quiet}))
	m := newMiddleware(t)
	r.Use(m.tracing, m.poisonQueue, m.retry, m.validation, m.idempotency)
	err := errors.Join(r.HandleMessage("user.created", nothing), r.HandleMessage("user.*", nothing), r.HandleMessage("user.**", nothing),
		r.HandleMessage("user.login.**", nothing), r.HandleMessage("user.login.*.**", nothing), r.Fallback(nothing), r.Check())
	if found := r.Findings(); err != nil || len(found) > 0 {
		t.Errorf("found %v, %v", found, err)
	}
}

// Check finds at once what Run would: that belongs into a test of each service.
func TestCheckReturnsRefusedRegistrations(t *testing.T) {
	_, _, sub := onMemory(t)
	r := made[*router.Router](t)(router.New(router.Config{Subscriber: sub, Topics: []string{"user-events"}, Logger: quiet}))
	for _, pattern := range []string{"user.created", "user.created", "**"} {
		_ = r.HandleMessage(pattern, nothing) // Check and Run return its error, too.
	}
	_ = r.Fallback(nothing)
	err := r.Check()
	config, isConfig := errors.AsType[*events.ConfigError](err)
	findings, isFindings := errors.AsType[*router.FindingsError](err)
	if !isConfig || !isFindings || !strings.Contains(config.Problem, "registered already") || findings.Findings[0].ID != "EV006" {
		t.Errorf("got %v", err)
	}
}

func TestSilencingARuleThatDoesNotExistIsRefused(t *testing.T) {
	_, _, sub := onMemory(t)
	_, err := router.New(router.Config{Subscriber: sub, Topics: []string{"t"}, Silence: []string{"EV01"}})
	if refused, ok := errors.AsType[*events.ConfigError](err); !ok || refused.Field != "router.Config.Silence" || refused.Value != "EV01" {
		t.Errorf("got %v", err)
	}
}

// docs/RULES.md has a section for each rule, and for no other.
func TestEveryRuleIsDocumented(t *testing.T) {
	doc := string(made[[]byte](t)(os.ReadFile("../docs/RULES.md")))
	if n := strings.Count(doc, "\n## EV"); n != len(router.Rules()) || n != len(wrong) {
		t.Errorf("%d rules are documented, %d exist, %d are tested", n, len(router.Rules()), len(wrong))
	}
	unwrapped := strings.Join(strings.Fields(doc), " ")
	for _, rule := range router.Rules() {
		level := "Warning."
		if rule.Refused {
			level = "Refused."
		}
		want := fmt.Sprintf("## %s %s %s", rule.ID, sentence(rule.Problem), level)
		if !strings.Contains(unwrapped, want) || !strings.Contains(unwrapped, sentence(rule.Remedy)+".") {
			t.Errorf("docs/RULES.md lacks %q or %q", want, sentence(rule.Remedy)+".")
		}
	}
}

func sentence(text string) string { return strings.ToUpper(text[:1]) + text[1:] }
