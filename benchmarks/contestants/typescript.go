package contestants

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"

	"github.com/logistically/events/benchmarks/harness"
	"github.com/logistically/events/benchmarks/report"
)

// Recorded returns figures of contestants that do not run everywhere, by the
// scenario that they are nearest to. They are from another machine.
func Recorded() []report.RecordedFigure {
	const conditions = " (medians of 3 on 2 shared cores, body of three short strings)"
	return []report.RecordedFigure{
		{Contestant: typescriptName, Scenario: "publish-1", Text: "7-19 k/s, each call awaited" + conditions},
		{Contestant: typescriptName, Scenario: "publish-512", Text: "31-38 k/s, 1 000 calls in parallel" + conditions},
		{Contestant: typescriptName, Scenario: "publish-bulk", Text: "19 k/s, batched, measured to Redis" + conditions},
		{Contestant: typescriptName, Scenario: "consume", Text: "9-20 k/s" + conditions},
	}
}

const (
	typescriptName = "typescript v2"
	// typescriptVariable names a checkout of the TypeScript library v2.0.0, built
	// with tsc into dist/ and with its node_modules.
	typescriptVariable = "EVENTS_NODE_DIR"
	// typescriptMessages is what a run publishes or consumes: some seconds.
	typescriptMessages = 20_000
)

//go:embed typescript/measure.cjs
var typescriptMeasure []byte

// Typescript is the library of which this one is the Go edition. It takes part
// where EVENTS_NODE_DIR names a built checkout; elsewhere the report shows what Recorded says.
func Typescript() harness.Contestant {
	limits := map[string]string{}
	for _, measure := range []string{"handlers", "drain", "storm", "fanout", "mixed", "latency", "recovery", "idle", "memory", "stored"} {
		limits[measure] = "runs in a process of its own, which only publishes or only consumes"
	}
	dir := os.Getenv(typescriptVariable)
	if dir == "" {
		reason := "needs a built checkout in " + typescriptVariable + ": see the recorded figures"
		limits["publish"], limits["consume"] = reason, reason
	}
	return harness.Contestant{
		Name:    typescriptName,
		Kind:    harness.Peer,
		Library: "@logistically/events 2.0.0",
		Redis:   true,
		Limits:  limits,
		Open: func(_ context.Context, env harness.Env) (harness.System, error) {
			if dir == "" {
				return nil, fmt.Errorf("%s is not set: %w", typescriptVariable, harness.ErrUnsupported)
			}
			node, err := exec.LookPath("node")
			if err != nil {
				return nil, fmt.Errorf("find node: %w", err)
			}
			return &typescript{env: env, node: node}, nil
		},
	}
}

type typescript struct {
	env  harness.Env
	node string
	runs int // each has a topic of its own
}

// Measure implements harness.External for "publish" and "consume".
func (t *typescript) Measure(ctx context.Context, measure string) (messages int, seconds float64, err error) {
	if measure != "publish" && measure != "consume" {
		return 0, 0, harness.ErrUnsupported
	}
	_, port, err := net.SplitHostPort(t.env.Redis)
	if err != nil {
		return 0, 0, fmt.Errorf("address of the redis-server: %w", err)
	}
	load := t.env.Load
	size := load.Body
	if load.Webhooks {
		size = meanWebhook
	}
	t.runs++
	cmd := exec.CommandContext(ctx, t.node, "-", measure, port, t.env.Topic+"-"+strconv.Itoa(t.runs),
		strconv.Itoa(typescriptMessages), strconv.Itoa(max(load.Callers, 1)), strconv.Itoa(size))
	var failure bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(typescriptMeasure), &failure
	out, err := cmd.Output()
	if err != nil {
		return 0, 0, fmt.Errorf("run the TypeScript library: %w: %s", err, bytes.TrimSpace(failure.Bytes()))
	}
	// The library logs to the same output: the result is its last line.
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	var result struct {
		Messages int     `json:"messages"`
		Seconds  float64 `json:"seconds"`
	}
	if err := json.Unmarshal(lines[len(lines)-1], &result); err != nil {
		return 0, 0, fmt.Errorf("result of the TypeScript library %.200q: %w", lines[len(lines)-1], err)
	}
	if result.Messages == 0 || result.Seconds <= 0 {
		return 0, 0, fmt.Errorf("the TypeScript library measured nothing: %.200q", lines[len(lines)-1])
	}
	return result.Messages, result.Seconds, nil
}

func (*typescript) Publish(context.Context, [][]byte) error { return harness.ErrUnsupported }

func (*typescript) Consume(context.Context, string, harness.Handler) error {
	return harness.ErrUnsupported
}

func (*typescript) Stored(context.Context) (int, error) { return 0, harness.ErrUnsupported }

func (*typescript) Close() error { return nil }
