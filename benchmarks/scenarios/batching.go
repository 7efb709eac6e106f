package scenarios

import "github.com/logistically/events/benchmarks/harness"

// decorated asks what the batching decorator costs whom it cannot help: a lone
// caller, and callers who publish in bulk already. Both ratios are to the transport
// without it.
func decorated() []harness.Scenario {
	return []harness.Scenario{
		{
			Name: "batching-1", Title: "one caller, one message a call, with and without the batching decorator", Measure: "publish",
			Load: harness.Load{Body: body, Callers: 1, Bulk: 1}, Apart: true, Contestants: []string{redis, batched}, Peer: redis,
		}, {
			Name: "batching-bulk", Title: "4 callers, 100 messages a call, with and without the batching decorator", Measure: "publish",
			Load: harness.Load{Body: body, Callers: 4, Bulk: 100}, Contestants: []string{redis, batched, buffered}, Peer: redis,
		},
	}
}
