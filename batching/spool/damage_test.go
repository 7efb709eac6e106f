package spool_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/logistically/events/batching/spool"
)

// spooled returns the only file of a spool with messages of these UUIDs, each of
// which ends at one of the offsets.
func spooled(t *testing.T, ids ...string) (content []byte, ends []int) {
	t.Helper()
	dir := t.TempDir()
	p := open(t, &target{fail: down}, spool.Config{Dir: dir})
	for _, id := range ids {
		check(t, p.Publish("t", msg(id)))
		ends = append(ends, int(p.Stats().Bytes))
	}
	check(t, p.Close())
	content, err := os.ReadFile(segments(t, dir)[0])
	check(t, err)
	if len(content) != ends[len(ends)-1] {
		t.Fatalf("the file has %d bytes, want %d", len(content), ends[len(ends)-1])
	}
	return content, ends
}

func segments(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*.spool"))
	check(t, err)
	return found
}

// reopened sends what a directory holds that has one file with this content.
func reopened(t *testing.T, content []byte) (delivered []string, damages []spool.Damage, kept bool) {
	t.Helper()
	dir, out := t.TempDir(), &target{}
	path := filepath.Join(dir, fmt.Sprintf("%020d.spool", 1))
	check(t, os.WriteFile(path, content, 0o600))
	p := open(t, out, spool.Config{Dir: dir, Sync: spool.SyncNever, OnDamage: func(d spool.Damage) { damages = append(damages, d) }})
	check(t, p.Publish("t", msgs("new")...))
	check(t, p.Flush(t.Context()))
	check(t, p.Close())
	if left := segments(t, dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	_, err := os.Stat(path + ".damaged")
	return out.delivered(), damages, err == nil
}

func TestATornEndCostsOnlyTheRecordThatWasBeingWritten(t *testing.T) {
	ids := numbered(0, 4)
	content, ends := spooled(t, ids...)
	for size := range len(content) {
		whole := 0
		for whole < len(ends) && ends[whole] <= size {
			whole++
		}
		delivered, damages, kept := reopened(t, content[:size])
		if want := append(slices.Clone(ids[:whole]), "new"); !slices.Equal(slices.Sorted(slices.Values(delivered)), want) {
			t.Fatalf("cut at %d: delivered %v, want %v", size, delivered, want)
		}
		start := 0
		if whole > 0 {
			start = ends[whole-1]
		}
		var want []spool.Damage
		if size > start {
			want = []spool.Damage{{Offset: int64(start), Bytes: int64(size - start), Torn: true}}
		}
		if !same(damages, want) || kept {
			t.Fatalf("cut at %d: reported %+v, want %+v; file kept: %t", size, damages, want, kept)
		}
	}
}

func TestADamagedRecordIsReportedAndCostsNoOther(t *testing.T) {
	ids := numbered(0, 3)
	content, ends := spooled(t, ids...)
	for at := range content {
		damaged := slices.Clone(content)
		damaged[at] ^= 1 << (at % 8)
		which := 0
		for ends[which] <= at {
			which++
		}
		delivered, damages, kept := reopened(t, damaged)
		if want := append(slices.Delete(slices.Clone(ids), which, which+1), "new"); !slices.Equal(slices.Sorted(slices.Values(delivered)), want) {
			t.Fatalf("byte %d: delivered %v, want %v", at, delivered, want)
		}
		start := 0
		if which > 0 {
			start = ends[which-1]
		}
		if want := []spool.Damage{{Offset: int64(start), Bytes: int64(ends[which] - start)}}; !same(damages, want) || !kept {
			t.Fatalf("byte %d: reported %+v, want %+v; file kept: %t", at, damages, want, kept)
		}
	}
}

func same(a, b []spool.Damage) bool {
	return slices.EqualFunc(a, b, func(a, b spool.Damage) bool {
		return a.Offset == b.Offset && a.Bytes == b.Bytes && a.Torn == b.Torn
	})
}

// A disk may fail while it is open.
func TestARecordThatIsDamagedWhileItWaitsIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, out := t.TempDir(), &target{fail: down}
		var damages []spool.Damage
		p := open(t, out, spool.Config{Dir: dir, MaxSize: 1, OnDamage: func(d spool.Damage) { damages = append(damages, d) }})
		check(t, p.Publish("t", msgs("0")...))
		synctest.Wait() // The first one has been read.
		check(t, p.Publish("t", msgs("1")...))
		check(t, p.Publish("t", msgs("2")...))
		path := segments(t, dir)[0]
		content, err := os.ReadFile(path)
		check(t, err)
		content[len(content)/2] ^= 1
		check(t, os.WriteFile(path, content, 0o600))
		out.becomes(nil)
		check(t, p.Flush(t.Context()))
		check(t, p.Close())
		expect(t, out, "0", "2")
		if len(damages) != 1 || damages[0].Torn || p.Stats().Messages != 0 {
			t.Errorf("reported %+v, held %+v", damages, p.Stats())
		}
	})
}

func TestADamagedPositionSendsAgainAndLosesNothing(t *testing.T) {
	dir, out := t.TempDir(), &target{fail: down}
	p := open(t, out, spool.Config{Dir: dir})
	check(t, p.Publish("t", msgs(numbered(0, 5)...)...))
	check(t, p.Close())
	check(t, os.WriteFile(filepath.Join(dir, "position"), []byte("no position, but as long"), 0o600))
	out.becomes(nil)
	p = open(t, out, spool.Config{Dir: dir})
	check(t, p.Flush(t.Context()))
	check(t, p.Close())
	expect(t, out, numbered(0, 5)...)
}
