package harness

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Measure is a way to measure one round.
type Measure struct {
	Unit Unit
	// keeps says that a system on Redis stays open, and its topic filled, over all
	// rounds.
	keeps bool
	run   func(ctx context.Context, s *stage) (Sample, error)
}

// Measures are all of them, by the name that a Scenario gives.
var Measures map[string]Measure

func init() { // The measures refer to Measures through stage.
	perSecond := Unit{Name: "messages/s"}
	Measures = map[string]Measure{
		"publish":  {perSecond, false, measurePublish},
		"consume":  {perSecond, true, measureConsume},
		"handlers": {perSecond, true, measureConsume},
		"drain":    {perSecond, true, measureConsume},
		"storm":    {perSecond, true, measureConsume},
		"fanout":   {Unit{Name: "deliveries/s"}, true, measureFanOut},
		"mixed":    {perSecond, false, measureMixed},
		"latency":  {Unit{Name: "ms (p50)", Less: true}, false, measureLatency},
		"recovery": {Unit{Name: "ms", Less: true}, false, measureRecovery},
		"idle":     {Unit{Name: "commands/s", Less: true}, false, measureIdle},
		"memory":   {Unit{Name: "bytes/message", Less: true}, false, measureMemory},
		"stored":   {Unit{Name: "bytes/message", Less: true}, false, measureStored},
	}
}

// Units are the units of all measures.
func Units() map[string]Unit {
	units := make(map[string]Unit, len(Measures))
	for name, m := range Measures {
		units[name] = m.Unit
	}
	return units
}

// patience is how long a contestant may go without any progress before its
// messages count as lost.
var patience = 15 * time.Second

// summary is one line about a result.
func summary(r Result, u Unit) string {
	switch {
	case r.Skipped != "":
		return fmt.Sprintf("%-34s skipped: %s", r.Contestant, r.Skipped)
	case r.Error != "":
		return fmt.Sprintf("%-34s FAILED: %s", r.Contestant, r.Error)
	case len(r.Samples) == 0:
		return fmt.Sprintf("%-34s no round was finished", r.Contestant)
	}
	figures := make([]float64, len(r.Samples))
	var messages int
	var used cpu
	for i, s := range r.Samples {
		figures[i] = s.Figure
		messages += s.Messages
		used.client += s.ClientCPU
		used.server += s.ServerCPU
	}
	slices.Sort(figures)
	line := fmt.Sprintf("%-34s %12.1f %s [%.1f, %.1f]", r.Contestant, figures[len(figures)/2], u.Name, figures[0], figures[len(figures)-1])
	if messages > 0 {
		line += fmt.Sprintf("  cpu %.1f + %.1f s/M", used.client/float64(messages)*1e6, used.server/float64(messages)*1e6)
	}
	return line
}
