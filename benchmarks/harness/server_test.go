package harness_test

import (
	"strings"
	"testing"

	"github.com/logistically/events/benchmarks/harness"
	"github.com/redis/go-redis/v9"
)

func TestAServerKeepsItsMemoryWhenItIsEmptied(t *testing.T) {
	server, err := harness.StartServer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	}()
	if info := client.Info(t.Context(), "memory").Val(); strings.Contains(info, "mem_allocator:jemalloc") { // Others have no such settings.
		stats, err := client.Do(t.Context(), "MEMORY", "MALLOC-STATS").Text()
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"opt.dirty_decay_ms: -1", "opt.muzzy_decay_ms: -1", `opt.thp: "always"`} {
			if !strings.Contains(stats, want) {
				t.Errorf("the allocator does not say %s", want)
			}
		}
	}
	if err := client.Set(t.Context(), "key", strings.Repeat("x", 1<<20), 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := server.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, err := client.DBSize(t.Context()).Result(); n != 0 || err != nil {
		t.Errorf("%d keys are left (%v)", n, err)
	}
}
