package contestants

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/logistically/events/benchmarks/harness"
)

// RedisBenchmark is Redis's own load generator, a C program: what the server
// takes when the client costs next to nothing. Its entries are bodies, and nothing else.
func RedisBenchmark() harness.Contestant {
	return redisBenchmarkOf("redis-benchmark", func() ([]string, error) { return []string{"payload"}, nil })
}

// RedisBenchmarkEntries is RedisBenchmark with the entries of the other contestants: a
// UUID and metadata beside the body, the same in all.
func RedisBenchmarkEntries() harness.Contestant {
	return redisBenchmarkOf("redis-benchmark, entries", func() ([]string, error) {
		values, err := headed()
		if err != nil {
			return nil, err
		}
		args := make([]string, len(values)-1) // The body comes last.
		for i := range args {
			args[i] = fmt.Sprintf("%s", values[i])
		}
		return args, nil
	})
}

// redisBenchmarkOf writes entries with these fields and values, of which the last is
// the field that has the body.
func redisBenchmarkOf(name string, fields func() ([]string, error)) harness.Contestant {
	const reason = "only publishes"
	limits := map[string]string{}
	for _, measure := range []string{"consume", "handlers", "drain", "storm", "fanout", "mixed", "latency", "recovery", "idle", "memory", "stored"} {
		limits[measure] = reason
	}
	return harness.Contestant{
		Name:    name,
		Kind:    harness.Ceiling,
		Library: "redis-benchmark " + redisBenchmarkVersion(),
		Redis:   true,
		Limits:  limits,
		Open: func(_ context.Context, env harness.Env) (harness.System, error) {
			path, err := exec.LookPath("redis-benchmark")
			if err != nil {
				return nil, fmt.Errorf("find redis-benchmark, which comes with Redis's tools: %w", err)
			}
			before, err := fields()
			if err != nil {
				return nil, fmt.Errorf("fields of redis-benchmark's entries: %w", err)
			}
			return redisBenchmark{env: env, path: path, fields: before}, nil
		},
	}
}

// redisBenchmarkVersion returns what the program says, such as "7.0.15", or "".
func redisBenchmarkVersion() string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "redis-benchmark", "--version").Output()
	if err != nil {
		return "" // Open says what is missing.
	}
	fields := strings.Fields(string(out))
	if len(fields) < 2 {
		return ""
	}
	return fields[1]
}

const (
	// 50 connections with 100 commands in flight on each are where its rate stops growing.
	redisBenchmarkClients  = 50
	redisBenchmarkPipeline = 100
	// redisBenchmarkBytes is what a run stores: about a second's worth of small bodies.
	redisBenchmarkBytes = 512 << 20
	redisBenchmarkMost  = 300_000 // messages
	// meanWebhook is the body's size where the load is real webhooks.
	meanWebhook = 10 << 10
)

type redisBenchmark struct {
	env    harness.Env
	path   string
	fields []string // and values, before the body
}

// Measure implements harness.External for the measure "publish". Callers and Bulk
// have no effect: it is the ceiling of all of them.
func (b redisBenchmark) Measure(ctx context.Context, measure string) (messages int, seconds float64, err error) {
	if measure != "publish" {
		return 0, 0, harness.ErrUnsupported
	}
	_, port, err := net.SplitHostPort(b.env.Redis)
	if err != nil {
		return 0, 0, fmt.Errorf("address of the redis-server: %w", err)
	}
	size := b.env.Load.Body
	if b.env.Load.Webhooks {
		size = meanWebhook
	}
	n := min(redisBenchmarkMost, redisBenchmarkBytes/max(size, 1))
	args := []string{"-p", port, "-n", strconv.Itoa(n), "-c", strconv.Itoa(redisBenchmarkClients), "-P", strconv.Itoa(redisBenchmarkPipeline), "--csv",
		"-x", "XADD", b.env.Topic, "*"} // -x: the body comes from the input, for an argument has a limit
	cmd := exec.CommandContext(ctx, b.path, append(args, b.fields...)...)
	var failure bytes.Buffer
	cmd.Stdin, cmd.Stderr = strings.NewReader(strings.Repeat("x", size)), &failure
	out, err := cmd.Output()
	if err != nil {
		return 0, 0, fmt.Errorf("redis-benchmark: %w: %s", err, bytes.TrimSpace(failure.Bytes()))
	}
	rate, err := requestsPerSecond(out)
	if err != nil {
		return 0, 0, err
	}
	return n, float64(n) / rate, nil
}

// requestsPerSecond reads the second column of the one result that --csv prints
// below its header.
func requestsPerSecond(out []byte) (float64, error) {
	r := csv.NewReader(bytes.NewReader(out))
	r.FieldsPerRecord, r.LazyQuotes = -1, true // The first column is the command, unescaped.
	records, err := r.ReadAll()
	if err != nil {
		return 0, fmt.Errorf("output of redis-benchmark: %w", err)
	}
	if len(records) == 0 || len(records[len(records)-1]) < 2 {
		return 0, fmt.Errorf("output of redis-benchmark: no result in %.200q", out)
	}
	rate, err := strconv.ParseFloat(records[len(records)-1][1], 64)
	if err != nil || rate <= 0 {
		return 0, fmt.Errorf("output of redis-benchmark: no rate in %.200q", out)
	}
	return rate, nil
}

func (redisBenchmark) Publish(context.Context, [][]byte) error { return harness.ErrUnsupported }

func (redisBenchmark) Consume(context.Context, string, harness.Handler) error {
	return harness.ErrUnsupported
}

func (redisBenchmark) Stored(context.Context) (int, error) { return 0, harness.ErrUnsupported }

func (redisBenchmark) Close() error { return nil }
