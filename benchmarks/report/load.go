package report

import (
	"slices"
	"strings"

	"github.com/logistically/events/benchmarks/harness"
)

// words says what the load is, the members that are zero left out.
func words(s harness.Scenario) []string {
	var said []string
	l := s.Load
	if l.Webhooks {
		said = append(said, "bodies: real webhooks of 1 to 25 KB")
	} else if l.Body > 0 {
		said = append(said, "bodies of "+tick(float64(l.Body), harness.Unit{Name: "bytes"}))
	}
	number := func(n int, before, one, many string) {
		switch {
		case n == 1 && one != "":
			said = append(said, before+one)
		case n > 0:
			said = append(said, before+whole(float64(n))+many)
		}
	}
	number(l.Callers, "", "1 caller that publishes", " callers that publish")
	number(l.Bulk, "", "1 message a call", " messages a call")
	number(l.Workers, "", "1 handler at a time", " handlers at a time")
	if l.Work > 0 {
		said = append(said, "each handler takes "+l.Work.String())
	}
	number(l.Groups, "", "1 consumer group", " consumer groups that each get everything")
	number(l.Rate, "", "1 message/s at fixed times", " messages/s at fixed times")
	number(l.Backlog, "", "1 message stored before", " messages stored before")
	number(l.Pending, "", "1 message pending at a consumer that is gone", " messages pending at a consumer that is gone")
	number(l.Handlers, "", "1 handler of another event type", " handlers of other event types")
	number(l.Patterns, "", "1 wildcard pattern of other event types", " wildcard patterns of other event types")
	if l.Fails == 1 {
		said = append(said, "every message fails at its first attempt")
	} else {
		number(l.Fails, "one in ", "", " messages fails at its first attempt")
	}
	number(l.InFlight, "", "1 message held unacknowledged", " messages held unacknowledged")
	if len(s.Server) > 0 {
		said = append(said, "redis-server with `"+strings.Join(s.Server, " ")+"`")
	}
	return said
}

// common has the words that are the same at all steps of a series.
func (s *section) common() []string {
	said := words(s.scenarios[0].Scenario)
	for _, sc := range s.scenarios[1:] {
		others := words(sc.Scenario)
		said = slices.DeleteFunc(said, func(w string) bool { return !slices.Contains(others, w) })
	}
	return said
}
