package harness

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// turn is how long a server stays on a core: short beside a round, long beside the
// fraction of a millisecond in which the next core's caches fill.
const turn = 25 * time.Millisecond

// takeTurns keeps the server on one core at a time, and on each of those that there
// are in turn (sched_setaffinity(2)), until end is called. Apart keeps this process off
// that core. Cores are not alike: where a neighbour of a virtual machine uses the other
// half of one, it is slower by half, for seconds or minutes. A server that stayed on it,
// or beside it, would make all contestants look better whose work is in the client, or
// in the server.
func takeTurns(server int, apart bool) (end func() error, err error) {
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return nil, fmt.Errorf("sched_getaffinity: %w", err)
	}
	cores := coresOf(all)
	if len(cores) < 2 {
		return func() error { return nil }, nil // There is one for both.
	}
	move := func(to int) error {
		ours, theirs := all, unix.CPUSet{}
		theirs.Set(to)
		if !apart {
			return allow(server, theirs)
		}
		ours.Clear(to)
		return errors.Join(allow(os.Getpid(), ours), allow(server, theirs))
	}
	restore := func() error { return errors.Join(allow(os.Getpid(), all), allow(server, all)) }
	if err := move(cores[0]); err != nil {
		return nil, errors.Join(err, restore())
	}
	procs := runtime.GOMAXPROCS(0)
	if apart { // More threads than cores would take turns on them.
		runtime.GOMAXPROCS(min(procs, len(cores)-1))
	}
	stop, ended := make(chan struct{}), make(chan error)
	go func() {
		tick := time.NewTicker(turn)
		defer tick.Stop()
		var err error
		for n := 1; ; n++ {
			select {
			case <-tick.C:
				err = errors.Join(err, move(cores[n%len(cores)]))
			case <-stop:
				ended <- err
				return
			}
		}
	}()
	return func() error {
		close(stop)
		err := <-ended
		runtime.GOMAXPROCS(procs)
		return errors.Join(err, restore())
	}, nil
}

func coresOf(set unix.CPUSet) (cores []int) {
	for core := range len(set) * strconv.IntSize {
		if set.IsSet(core) {
			cores = append(cores, core)
		}
	}
	return cores
}

// allow sets the cores of all threads of a process; threads that it starts later
// inherit them. One that is started meanwhile may be missed, so it looks twice.
func allow(pid int, cores unix.CPUSet) error {
	for range 2 {
		threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil {
			return fmt.Errorf("threads of process %d: %w", pid, err)
		}
		for _, t := range threads {
			id, err := strconv.Atoi(t.Name())
			if err != nil {
				return fmt.Errorf("thread %q of process %d: %w", t.Name(), pid, err)
			}
			err = unix.SchedSetaffinity(id, &cores)
			if err != nil && !errors.Is(err, unix.ESRCH) && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("sched_setaffinity of thread %d: %w", id, err)
			}
		}
	}
	return nil
}
