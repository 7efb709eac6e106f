package spool_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/batching/spool"
)

func TestAWrongConfigurationIsRefused(t *testing.T) {
	dir := t.TempDir()
	for field, cfg := range map[string]spool.Config{
		"Dir":           {},
		"MaxBytes":      {Dir: dir, MaxBytes: -1},
		"SegmentBytes":  {Dir: dir, SegmentBytes: -1},
		"Sync":          {Dir: dir, Sync: 7},
		"MaxSize":       {Dir: dir, MaxSize: -1},
		"RetryInterval": {Dir: dir, RetryInterval: -1},
	} {
		_, err := spool.NewPublisher(&target{}, cfg)
		if bad, ok := errors.AsType[*events.ConfigError](err); !ok || bad.Field != "spool.Config."+field {
			t.Errorf("%s: error %v", field, err)
		}
	}
	if _, err := spool.NewPublisher(&target{}, spool.Config{Dir: dir, MaxBytes: 10, SegmentBytes: 11}); err == nil {
		t.Error("segments may be larger than everything")
	}
	for _, next := range []message.Publisher{nil, (*target)(nil)} {
		if _, err := spool.NewPublisher(next, spool.Config{Dir: dir}); err == nil {
			t.Errorf("%#v is accepted", next)
		}
	}
}

func TestADirectoryHasOnePublisherAtATime(t *testing.T) {
	cfg := spool.Config{Dir: t.TempDir()}
	p := open(t, &target{}, cfg)
	if _, err := spool.NewPublisher(&target{}, cfg); !errors.Is(err, spool.ErrInUse) {
		t.Errorf("error %v", err)
	}
	check(t, p.Close())
	check(t, open(t, &target{}, cfg).Close())
}

func TestADirectoryThatCannotBeUsedIsAnError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	check(t, os.WriteFile(file, nil, 0o600))
	if _, err := spool.NewPublisher(&target{}, spool.Config{Dir: file}); err == nil {
		t.Error("a file is taken for a directory")
	}
	dir := t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, "mine.spool"), nil, 0o600))
	if _, err := spool.NewPublisher(&target{}, spool.Config{Dir: dir}); err == nil {
		t.Error("a foreign file is taken for a segment")
	}
}

func TestPublishAfterCloseIsRefused(t *testing.T) {
	out := &target{}
	p := open(t, out, spool.Config{Dir: t.TempDir()})
	check(t, p.Close())
	check(t, p.Close())
	if err := p.Publish("t", msgs("0")...); !errors.Is(err, events.ErrClosed) {
		t.Errorf("error %v", err)
	}
	expect(t, out)
}

func TestAMessageWhoseContextHasEndedIsNeitherSentNorSpooled(t *testing.T) {
	out := &target{}
	p := open(t, out, spool.Config{Dir: t.TempDir()})
	all := msgs("0", "1", "2")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	all[1].SetContext(ctx)
	err := p.Publish("t", all...)
	if failed, ok := errors.AsType[*events.PublishError](err); !ok || len(failed.Failed) != 1 || failed.Failed[0].Message != all[1] || !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	expect(t, out, "0", "2")
	check(t, p.Publish("t"))
	if err := p.Publish("t", nil); err == nil {
		t.Error("a nil message is published")
	}
	check(t, p.Close())
}

func TestFlushEndsWithItsContextAndWithClose(t *testing.T) {
	p := open(t, &target{fail: down}, spool.Config{Dir: t.TempDir()})
	check(t, p.Publish("t", msgs("0")...))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Flush(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	check(t, p.Close())
	if err := p.Flush(t.Context()); !errors.Is(err, events.ErrClosed) {
		t.Errorf("error %v", err)
	}
}
