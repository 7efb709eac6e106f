package transport

import (
	"hash/fnv"
	"strconv"
)

// PartitionTopics returns the names of the partitions of a topic: "user-events:0" to
// "user-events:7" for 8 of them. They are topics like any other, each with its own
// dead letters, in slots of their own on a Redis Cluster. A router consumes them
// as its Config.Topics, a routing table publishes to them by router.Route.Partitions.
//
// All events of a key are in one partition, in the order in which they were
// published. Changing the number moves keys: let consumers empty the old partitions
// before anything is published to the new ones, or order is lost in between.
func PartitionTopics(topic string, partitions int) []string {
	topics := make([]string, max(partitions, 0))
	for i := range topics {
		topics[i] = PartitionTopic(topic, i)
	}
	return topics
}

// PartitionTopic returns the name of one partition of a topic: "user-events:3".
func PartitionTopic(topic string, partition int) string {
	return topic + ":" + strconv.Itoa(partition)
}

// PartitionOf returns the partition of a key, from 0 to partitions-1: the 64-bit
// FNV-1a hash of its bytes, modulo the number of partitions. It will not change,
// and any language has it. Without partitions it is 0.
func PartitionOf(key string, partitions int) int {
	if partitions < 1 {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(key)) // It never fails.
	return int(h.Sum64() % uint64(partitions))
}
