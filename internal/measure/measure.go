// Package measure runs one operation as a benchmark and holds it to a budget of
// allocations, so that both are about the same thing. It is for tests.
package measure

import "testing"

// Operation is what is measured. Its error ends the measurement.
type Operation func() error

// Benchmark runs op as b says.
func Benchmark(b *testing.B, op Operation) {
	b.Helper()
	b.ReportAllocs()
	for b.Loop() {
		if err := op(); err != nil {
			b.Fatal(err)
		}
	}
}

// Budget is how many allocations one run of an operation may make.
type Budget struct {
	Name string
	Most int
	Op   Operation
}

// Runs is how often [Allocations] runs an operation: once to warm it up, the
// others to take the mean, rounded down.
const Runs = 201

// Allocations fails the test for each operation that is over its budget. Under
// the race detector, where sync.Pool drops at random, it skips the test.
func Allocations(t *testing.T, budgets ...Budget) {
	t.Helper()
	if raceDetector {
		t.Skip("the race detector changes how much is allocated")
	}
	for _, b := range budgets {
		var err error
		got := int(testing.AllocsPerRun(Runs-1, func() {
			if e := b.Op(); e != nil {
				err = e
			}
		}))
		switch {
		case err != nil:
			t.Errorf("%s: %v", b.Name, err)
		case got > b.Most:
			t.Errorf("%s: %d allocations measured, the budget is %d: allocate less, or say in the commit why it is worth raising", b.Name, got, b.Most)
		case got < b.Most:
			t.Logf("%s: %d allocations measured, the budget is %d: lower it", b.Name, got, b.Most)
		}
	}
}
