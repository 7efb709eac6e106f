// Package spool keeps on disk what a publisher could not send, and sends it when
// it can: a decorator over any message.Publisher, to be put beneath a
// batching.Publisher or used alone. The files are append-only, each record with a
// checksum, and outlive the process.
package spool

import (
	"errors"
	"log/slog"
	"time"

	"github.com/logistically/events"
)

var (
	// ErrFull says that the spool has reached [Config].MaxBytes.
	ErrFull = errors.New("spool: full")
	// ErrInUse says that another Publisher, maybe of another process, has the directory.
	ErrInUse = errors.New("spool: the directory is in use")
)

// Sync says what a message has survived when Publish has spooled it.
type Sync int

const (
	// SyncAlways: a power failure. Each Publish call that spools ends with one
	// fsync. It is the zero value.
	SyncAlways Sync = iota
	// SyncNever: the end of the process, also by SIGKILL, but no power failure or
	// crash of the system.
	SyncNever
)

// Config configures [NewPublisher].
type Config struct {
	// Dir is the directory of the spool, which is made if it is missing. Required.
	// One Publisher at a time can have it, and it is not for network file systems.
	Dir string
	// MaxBytes is how much the files may take up. Publish returns ErrFull when the
	// transport is away and they do. Zero means 1 GiB.
	MaxBytes int64
	// SegmentBytes is the size of a file, after which another one is begun. A file
	// is removed when all of it has been sent. Zero means 8 MiB, or an eighth of
	// MaxBytes if that is less.
	SegmentBytes int64
	// Sync says when files are synced. The zero value is SyncAlways.
	Sync Sync
	// MaxSize is how many messages are sent in one call. After a crash as many may
	// be sent twice. Zero means 100.
	MaxSize int
	// RetryInterval is how long the first wait lasts after a failure to send what
	// is spooled. It doubles, up to a hundred times as much. Zero means 100 ms.
	RetryInterval time.Duration
	// Rejects reports whether a message that failed with this error is never to be
	// sent again. If it has been spooled, it is set aside: see Publisher.TakeRejected;
	// if not, Publish returns the error. Nil means events.IsPermanent.
	Rejects func(error) bool
	// OnDamage is told of records that cannot be read, when the directory is opened
	// or while it is sent. It must not call the Publisher. Nil means that they
	// are only logged.
	OnDamage func(Damage)
	// Logger gets damages, and failures to send. It must not call the Publisher
	// either. Nil means slog.Default().
	Logger *slog.Logger
}

// Damage is a part of a file that holds no readable record.
type Damage struct {
	File   string // a path
	Offset int64
	Bytes  int64
	// Torn says that it is the end of a file, as a crash leaves it that comes while a
	// record is written. Publish has not accepted such a record. Otherwise records
	// have been lost, and the file is kept, with the ending .damaged.
	Torn bool
}

func (cfg *Config) complete() error {
	bad := func(field string, value any, problem, remedy string) error {
		return &events.ConfigError{Field: "spool.Config." + field, Value: value, Problem: problem, Remedy: remedy}
	}
	switch {
	case cfg.Dir == "":
		return bad("Dir", cfg.Dir, "is empty", "name a directory on a local disk")
	case cfg.MaxBytes < 0:
		return bad("MaxBytes", cfg.MaxBytes, "is negative", "set a number of bytes, or 0 for 1 GiB")
	case cfg.SegmentBytes < 0:
		return bad("SegmentBytes", cfg.SegmentBytes, "is negative", "set a number of bytes, or 0 for 8 MiB")
	case cfg.Sync < SyncAlways || cfg.Sync > SyncNever:
		return bad("Sync", cfg.Sync, "is no policy", "use spool.SyncAlways or spool.SyncNever")
	case cfg.MaxSize < 0:
		return bad("MaxSize", cfg.MaxSize, "is negative", "set a number of messages, or 0 for 100")
	case cfg.RetryInterval < 0:
		return bad("RetryInterval", cfg.RetryInterval, "is negative", "set a duration, or 0 for 100 ms")
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 1 << 30
	}
	if cfg.SegmentBytes == 0 {
		cfg.SegmentBytes = min(8<<20, max(cfg.MaxBytes/8, 1))
	}
	if cfg.SegmentBytes > cfg.MaxBytes {
		return bad("SegmentBytes", cfg.SegmentBytes, "is over MaxBytes", "lower it, or leave it 0")
	}
	if cfg.MaxSize == 0 {
		cfg.MaxSize = 100
	}
	if cfg.RetryInterval == 0 {
		cfg.RetryInterval = 100 * time.Millisecond
	}
	if cfg.Rejects == nil {
		cfg.Rejects = events.IsPermanent
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return nil
}
