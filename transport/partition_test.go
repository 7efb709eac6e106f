package transport

import (
	"fmt"
	"slices"
	"testing"
)

func TestPartitionsOfAKeyNeverChange(t *testing.T) {
	// By the reference vectors of FNV-1a, 64 bits: "" is 0xcbf29ce484222325, "a" 0xaf63dc4c8601ec8c,
	// "foobar" 0x85944171f73967e8.
	for key, hash := range map[string]uint64{"": 0xcbf29ce484222325, "a": 0xaf63dc4c8601ec8c, "foobar": 0x85944171f73967e8} {
		for _, n := range []int{1, 7, 8, 1000} {
			if got := PartitionOf(key, n); got != int(hash%uint64(n)) {
				t.Errorf("%q is in partition %d of %d, want %d", key, got, n, hash%uint64(n))
			}
		}
	}
	if got := PartitionOf("a", 0); got != 0 {
		t.Errorf("partition %d of none", got)
	}
}

func TestPartitionsAreTopicsOfTheirOwn(t *testing.T) {
	topics := PartitionTopics("user-events", 3)
	if want := []string{"user-events:0", "user-events:1", "user-events:2"}; !slices.Equal(topics, want) {
		t.Errorf("partitions %v", topics)
	}
	if err := CheckTopics(topics...); err != nil {
		t.Error(err)
	}
	if got := PartitionTopics("user-events", -1); len(got) != 0 {
		t.Errorf("partitions %v", got)
	}
}

func TestKeysSpreadOverPartitions(t *testing.T) {
	var counts [8]int
	for i := range 8000 {
		counts[PartitionOf(fmt.Sprint("order-", i), len(counts))]++
	}
	for i, n := range counts {
		if n < 800 || n > 1200 {
			t.Errorf("%d of 8000 keys are in partition %d of 8", n, i)
		}
	}
}

func ExamplePartitionTopics() {
	topics := PartitionTopics("user-events", 4)
	fmt.Println(topics)
	fmt.Println(topics[PartitionOf("user-17", 4)])
	// Output:
	// [user-events:0 user-events:1 user-events:2 user-events:3]
	// user-events:1
}
