package spool

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
)

// failingFile is a file on a disk that has room for so many bytes more, or that
// cannot be synced.
type failingFile struct {
	file
	disk *disk
}

type disk struct {
	room   int // negative: no limit
	noSync bool
}

func (f failingFile) WriteAt(b []byte, off int64) (int, error) {
	if f.disk.room >= 0 && len(b) > f.disk.room {
		n, _ := f.file.WriteAt(b[:f.disk.room], off)
		return n, syscall.ENOSPC
	}
	return f.file.WriteAt(b, off)
}

func (f failingFile) Sync() error {
	if f.disk.noSync {
		return syscall.EIO
	}
	return f.file.Sync()
}

// transport takes nothing while it is down.
type transport struct {
	mu   sync.Mutex
	down bool
	got  []string
}

func (p *transport) Publish(_ string, msgs ...*message.Message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return errors.New("down")
	}
	for _, m := range msgs {
		p.got = append(p.got, m.UUID)
	}
	return nil
}

func (p *transport) Close() error { return nil }

func (p *transport) comesBack() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = false
}

func publish(p *Publisher, id string) error {
	return p.Publish("t", message.NewMessage(id, []byte("payload")))
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// What is accepted, and nothing else, is sent after the disk has failed and again.
func TestADiskThatFailsRefusesAndLosesNothing(t *testing.T) {
	for name, tt := range map[string]struct {
		fails disk
		want  error
	}{
		"full":                  {disk{room: 0}, syscall.ENOSPC},
		"full within a record":  {disk{room: 20}, syscall.ENOSPC},
		"its sync is no longer": {disk{room: -1, noSync: true}, syscall.EIO},
	} {
		t.Run(name, func(t *testing.T) {
			d := &disk{room: -1}
			out := &transport{down: true}
			cfg := Config{Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)}
			p, err := NewPublisher(out, cfg)
			check(t, err)
			p.mu.Lock()
			p.store.create = func(path string) (file, error) {
				f, err := createFile(path)
				return failingFile{f, d}, err
			}
			p.mu.Unlock()
			check(t, publish(p, "0"))
			set := func(to disk) { p.mu.Lock(); *d = to; p.mu.Unlock() }
			set(tt.fails)
			for range 2 { // The second one meets no file that is open.
				err = publish(p, "refused")
				if _, ok := errors.AsType[*events.PublishError](err); !ok || !errors.Is(err, tt.want) {
					t.Errorf("error %v", err)
				}
			}
			set(disk{room: -1})
			check(t, publish(p, "1"))
			check(t, p.Close())

			damages := 0
			cfg.OnDamage = func(Damage) { damages++ }
			out.comesBack()
			p, err = NewPublisher(out, cfg)
			check(t, err)
			check(t, p.Flush(t.Context()))
			check(t, p.Close())
			if !slices.Equal(out.got, []string{"0", "1"}) || damages > 0 {
				t.Errorf("delivered %v, want 0 and 1; %d damages", out.got, damages)
			}
		})
	}
}

func TestASpoolOverItsLimitRefusesAndLosesNothing(t *testing.T) {
	out := &transport{down: true}
	p, err := NewPublisher(out, Config{Dir: t.TempDir(), MaxBytes: 1000, Logger: slog.New(slog.DiscardHandler)})
	check(t, err)
	var accepted []string
	for i := range 100 {
		err := publish(p, fmt.Sprint(i))
		switch {
		case err == nil:
			accepted = append(accepted, fmt.Sprint(i))
		case !errors.Is(err, ErrFull):
			t.Fatal(err)
		}
		if held := p.Stats().Bytes; held > 1000 {
			t.Fatalf("%d bytes are held, at most 1000", held)
		}
	}
	if len(accepted) < 10 || len(accepted) == 100 {
		t.Errorf("%d were accepted", len(accepted))
	}
	out.comesBack()
	check(t, p.Flush(t.Context()))
	check(t, publish(p, "again"))
	check(t, p.Close())
	if want := append(accepted, "again"); !slices.Equal(out.got, want) {
		t.Errorf("delivered %v, want %v", out.got, want)
	}
}
