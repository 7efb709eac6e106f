package batching

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// A line behaves as a slice does, whatever is done to it.
func TestALineKeepsItsOrder(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	var l line
	var want []uint64
	for number := uint64(1); number < 20_000; number++ {
		switch grow := 2 + number/5000%2; { // It grows, then it shrinks, and again.
		case rnd.Uint64N(5) < grow || len(want) == 0:
			l.add(item{number: number})
			want = append(want, number)
		case rnd.IntN(2) == 0:
			if got := l.take().number; got != want[0] {
				t.Fatalf("took %d, want %d", got, want[0])
			}
			want = want[1:]
		default:
			i := rnd.IntN(len(want))
			if at := l.find(want[i]); at != i {
				t.Fatalf("found %d at %d, want %d", want[i], at, i)
			}
			if got := l.remove(i).number; got != want[i] {
				t.Fatalf("removed %d, want %d", got, want[i])
			}
			want = slices.Delete(want, i, i+1)
		}
		if l.len() != len(want) || len(want) > 0 && l.first().number != want[0] {
			t.Fatalf("%d items, want %d", l.len(), len(want))
		}
	}
}
