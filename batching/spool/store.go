package spool

import (
	"errors"
	"fmt"
	"os"
)

// store is the files of a spool. It is not safe for concurrent use.
type store struct {
	cfg      Config
	lock     *os.File
	at       positionFile
	sent     position
	segments []*segment // with something to send; the last one may be the active one
	active   file       // the last segment, if it can be appended to
	newest   uint64     // number of a segment
	messages int        // to be sent
	read     struct {   // what has been read of the first segment
		segment uint64
		offset  int64
		bytes   []byte
	}
	rejected int // messages in the file of those set aside

	create func(path string) (file, error)
}

func createFile(path string) (file, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
}

// openStore opens a directory and counts what there is to send. It never appends to
// a file of another process: that may have a torn end.
func openStore(cfg Config) (*store, error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	s := &store{cfg: cfg, create: createFile}
	var err error
	if s.lock, err = lock(cfg.Dir); err != nil {
		return nil, err
	}
	if err := s.load(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// load finds out what there is.
func (s *store) load() (err error) {
	if s.at, s.sent, err = openPosition(s.cfg.Dir); err != nil {
		return err
	}
	all, err := segmentsIn(s.cfg.Dir)
	if err != nil {
		return err
	}
	s.newest = s.sent.segment
	for _, seg := range all {
		s.newest = max(s.newest, seg.number)
		if err := s.scan(seg); err != nil {
			return err
		}
	}
	s.rejected, err = s.countRejected()
	return err
}

// scan counts the messages of a segment that was there already.
func (s *store) scan(seg *segment) error {
	from := int64(0)
	switch {
	case seg.number < s.sent.segment, seg.number == s.sent.segment && s.sent.offset >= seg.size, seg.size == 0:
		return removeFile(seg.path) // All of it has been sent.
	case seg.number == s.sent.segment:
		from = s.sent.offset
	}
	b, err := seg.read(from)
	if err != nil {
		return err
	}
	seg.walk(b, from, func(record, int64) bool { seg.left++; return true }, func(d Damage) { s.damage(seg, d) })
	seg.scanned = true
	if seg.left == 0 {
		return seg.dispose()
	}
	s.messages += seg.left
	s.segments = append(s.segments, seg)
	return nil
}

// damage reports what has not been reported yet.
func (s *store) damage(seg *segment, d Damage) {
	if seg.scanned {
		return
	}
	seg.damaged = seg.damaged || !d.Torn
	if d.Torn {
		s.cfg.Logger.Warn("spool: the end of a file is torn, as a crash leaves it: it was not accepted", "file", d.File, "offset", d.Offset, "bytes", d.Bytes)
	} else {
		s.cfg.Logger.Error("spool: records cannot be read and are lost; the file is kept", "file", d.File, "offset", d.Offset, "bytes", d.Bytes)
	}
	if s.cfg.OnDamage != nil {
		s.cfg.OnDamage(d)
	}
}

func (s *store) bytes() (n int64) {
	for _, seg := range s.segments {
		n += seg.size
	}
	return n
}

// append adds all records, or none. When it returns nil they are durable, as far as
// Config.Sync says.
func (s *store) append(records []record) error {
	var b []byte
	for _, r := range records {
		b = appendRecord(b, r)
	}
	if held := s.bytes(); held+int64(len(b)) > s.cfg.MaxBytes {
		return fmt.Errorf("%w: %d messages take up %d bytes, at most %d: mend the transport, or raise Config.MaxBytes", ErrFull, s.messages, held, s.cfg.MaxBytes)
	}
	if err := s.makeActive(int64(len(b))); err != nil {
		return err
	}
	seg := s.segments[len(s.segments)-1]
	_, err := s.active.WriteAt(b, seg.size)
	if err == nil && s.cfg.Sync == SyncAlways {
		err = s.active.Sync()
	}
	if err != nil {
		return fmt.Errorf("spool: nothing is accepted: %w", errors.Join(err, s.abandon(seg)))
	}
	seg.size += int64(len(b))
	seg.left += len(records)
	s.messages += len(records)
	return nil
}

// makeActive makes the last segment one that can take so many bytes.
func (s *store) makeActive(n int64) error {
	if s.active != nil {
		seg := s.segments[len(s.segments)-1]
		if seg.size+n <= s.cfg.SegmentBytes {
			return nil
		}
		err := s.active.Close()
		s.active = nil
		if err != nil {
			return fmt.Errorf("spool: %s: %w", seg.path, err)
		}
	}
	path := segmentPath(s.cfg.Dir, s.newest+1)
	f, err := s.create(path)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	s.newest++
	s.active = f
	s.segments = append(s.segments, &segment{number: s.newest, path: path})
	if s.cfg.Sync == SyncAlways {
		if err := syncDir(s.cfg.Dir); err != nil {
			return fmt.Errorf("spool: %w", errors.Join(err, s.abandon(s.segments[len(s.segments)-1])))
		}
	}
	return nil
}

// abandon ends the active segment after a failure: nobody knows what the system
// has kept of what was written since.
func (s *store) abandon(seg *segment) error {
	err := errors.Join(s.active.Truncate(seg.size), s.active.Close())
	s.active = nil
	if seg.size == 0 {
		s.segments = s.segments[:len(s.segments)-1]
		err = errors.Join(err, removeFile(seg.path))
	}
	return err
}

// window returns the next messages to send, so many at most, and where they end.
// There are none only if all has been sent.
func (s *store) window(most int) (records []record, end position, err error) {
	for len(s.segments) > 0 {
		seg := s.segments[0]
		from := int64(0)
		if s.sent.segment == seg.number {
			from = s.sent.offset
		}
		b, err := s.rest(seg, from)
		if err != nil {
			return nil, position{}, err
		}
		to := seg.walk(b, from, func(r record, _ int64) bool {
			records = append(records, r)
			return len(records) < most
		}, func(d Damage) { s.damage(seg, d) })
		end = position{seg.number, to}
		if len(records) > 0 {
			return records, end, nil
		}
		if err := s.commit(end, 0); err != nil {
			return nil, position{}, err
		}
	}
	return nil, s.sent, nil
}

// rest returns what is after from in the first segment. It reads in large pieces.
func (s *store) rest(seg *segment, from int64) ([]byte, error) {
	r := &s.read
	if known := from - r.offset; r.segment == seg.number && known >= 0 && known < int64(len(r.bytes)) {
		return r.bytes[known:], nil
	}
	b, err := seg.read(from)
	if err != nil {
		return nil, err
	}
	r.segment, r.offset, r.bytes = seg.number, from, b
	return b, nil
}

// commit records that n messages up to a position have been sent, and removes files
// that have nothing else.
func (s *store) commit(end position, n int) error {
	seg := s.segments[0]
	s.messages -= n
	seg.left -= n
	s.sent = end
	err := s.at.save(end)
	if end.offset < seg.size {
		return err
	}
	if len(s.segments) == 1 && s.active != nil {
		err = errors.Join(err, s.active.Close())
		s.active = nil
	}
	s.messages -= seg.left // They were damaged since they were counted.
	s.segments = s.segments[1:]
	s.read.bytes = nil
	return errors.Join(err, seg.dispose())
}

func (s *store) close() error {
	var errs []error
	if s.active != nil {
		errs = append(errs, s.active.Close())
		s.active = nil
	}
	if s.at.f != nil {
		errs = append(errs, s.at.close())
	}
	return errors.Join(append(errs, s.lock.Close())...)
}
