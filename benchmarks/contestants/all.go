package contestants

import (
	"slices"

	"github.com/logistically/events/benchmarks/harness"
)

// All returns every contestant, this library's first.
func All() []harness.Contestant {
	return slices.Concat(EventsRedis(), EventsMemory(), []harness.Contestant{
		Redisstream(), RedisstreamRouter(), RedisstreamChain(), Gochannel(), GochannelRouter(), Asynq(), RiverSQLite(), Typescript(),
		GoRedis(), GoRedisMessages(), GoRedisAutoPipeline(), RedisBenchmark(), RedisBenchmarkEntries(),
	})
}
