package report_test

import (
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/logistically/events/benchmarks/harness"
	"github.com/logistically/events/benchmarks/report"
)

const (
	router    = "events redis, router"
	batching  = "events redis, batching"
	inMemory  = "events memory"
	watermill = "watermill redisstream"
	asynq     = "asynq"
	gochannel = "watermill gochannel"
	pipeline  = "go-redis pipeline"
)

var units = map[string]harness.Unit{
	"publish":  {Name: "messages/s"},
	"consume":  {Name: "messages/s"},
	"latency":  {Name: "ms (p50)", Less: true},
	"fanout":   {Name: "deliveries/s"},
	"handlers": {Name: "messages/s"},
	"memory":   {Name: "bytes/message", Less: true},
	"storm":    {Name: "messages/s"},
}

var contestants = []harness.Contestant{
	{Name: router, Kind: harness.Ours, Redis: true, Library: "ours"},
	{Name: batching, Kind: harness.Ours, Redis: true, Limits: map[string]string{"fanout": "has one group"}},
	{Name: inMemory, Kind: harness.Ours},
	{Name: watermill, Kind: harness.Peer, Redis: true},
	{Name: gochannel, Kind: harness.Peer},
	{Name: asynq, Kind: harness.Peer, Redis: true, Library: "github.com/hibiken/asynq v0.26.0"},
	{Name: pipeline, Kind: harness.Ceiling, Redis: true},
}

// madeUp is the input of the golden files; its results are testdata/results.json.
func madeUp(t *testing.T) report.Input {
	t.Helper()
	results, err := report.ReadResults(filepath.Join("testdata", report.ResultsFile))
	if err != nil {
		t.Fatal(err)
	}
	return report.Input{
		Results:     results,
		Scenarios:   scenarios(),
		Contestants: contestants,
		Units:       units,
		Recorded: []report.RecordedFigure{
			{Contestant: "old library", Scenario: "publish-single", Text: "8.1 k/s, on a laptop"},
			{Contestant: asynq, Scenario: "publish-single", Text: "12 k/s"},
		},
		Findings: "## Findings\n\nWritten by hand.\n",
	}
}

func itoa(n int) string { return strconv.Itoa(n) }

func scenarios() []harness.Scenario {
	all := []string{router, batching, watermill, asynq, pipeline}
	list := []harness.Scenario{
		{
			Name: "publish-single", Title: "Publish one by one", Measure: "publish", Contestants: all, Peer: watermill, Best: pipeline,
			Load: harness.Load{Body: 256, Callers: 8, Bulk: 1},
		},
		{
			Name: "publish-bulk", Title: "Publish in bulk, every write on disk", Measure: "publish", Contestants: all, Peer: watermill, Best: pipeline,
			Load: harness.Load{Body: 1024, Callers: 1, Bulk: 100}, Server: []string{"--appendfsync", "always"},
		},
		{
			Name: "consume-webhooks", Title: "Consume webhooks", Measure: "consume", Contestants: []string{router, batching, watermill, pipeline}, Peer: watermill, Best: pipeline,
			Load: harness.Load{Webhooks: true, Workers: 16, Work: time.Millisecond, Backlog: 100_000, Fails: 100},
		},
		{Name: "storm-1", Title: "Never run", Measure: "storm", Contestants: []string{router}},
	}
	for _, rate := range []int{20_000, 1000, 5000} {
		list = append(list, harness.Scenario{
			Name: "latency-" + itoa(rate), Title: "Latency at " + itoa(rate) + "/s", Measure: "latency", Contestants: []string{router, watermill, pipeline},
			Peer: watermill, Best: pipeline, Load: harness.Load{Body: 256, Workers: 16, Rate: rate}, Axis: "rate", At: float64(rate),
		})
	}
	for _, groups := range []int{1, 8, 64} {
		list = append(list, harness.Scenario{
			Name: "fanout-" + itoa(groups), Title: "Fan out to " + itoa(groups), Measure: "fanout", Contestants: []string{router, batching, inMemory, watermill, gochannel},
			Peer: watermill, Load: harness.Load{Body: 256, Groups: groups}, Axis: "groups", At: float64(groups),
		})
	}
	for _, handlers := range []int{0, 100, 10_000} {
		list = append(list, harness.Scenario{
			Name: "handlers-" + itoa(handlers), Measure: "handlers", Contestants: []string{router, watermill},
			Peer: watermill, Load: harness.Load{Body: 256, Handlers: handlers}, Axis: "handlers", At: float64(handlers),
		})
	}
	for _, bytes := range []int{64, 1 << 20} {
		list = append(list, harness.Scenario{
			Name: "publish-body-" + itoa(bytes), Measure: "publish", Contestants: []string{router, watermill}, Peer: watermill,
			Load: harness.Load{Body: bytes, Callers: 16}, Axis: "publish body", At: float64(bytes),
		})
	}
	return append(list, harness.Scenario{
		Name: "memory", Title: "Memory held by messages in flight", Measure: "memory", Contestants: []string{router, batching, watermill}, Peer: watermill,
		Load: harness.Load{Body: 256, InFlight: 10_000},
	})
}
