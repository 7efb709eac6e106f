package events

import (
	"context"
	"encoding/json"
	"fmt"
)

// smallBody is up to how many bytes a body that is JSON already shares memory with
// others of its call: an allocation costs as much as all else that is done with it.
const smallBody = 512

// rawOf returns a body that goes out as it is.
func rawOf(body any) (raw []byte, ok bool) {
	switch raw := body.(type) {
	case json.RawMessage:
		return raw, true
	case []byte:
		return raw, true
	}
	return nil, false
}

// encodeAll appends the bytes of bodies that may be published.
func encodeAll[T any](ctx context.Context, p *Publisher, eventType string, bodies []T, payloads [][]byte) ([][]byte, error) {
	var room []byte // for the small ones
	small := func(body T) ([]byte, bool) {
		raw, ok := rawOf(body)
		return raw, ok && len(raw) <= smallBody
	}
	_, share := p.cfg.Codec.(jsonCodec)
	if share {
		size := 0
		for _, body := range bodies {
			if raw, ok := small(body); ok {
				size += len(raw)
			}
		}
		room = make([]byte, 0, size)
	}
	for _, body := range bodies {
		var payload []byte
		var err error
		if raw, ok := small(body); ok && share {
			if err = checkJSON(raw); err == nil {
				room = append(room, raw...)
				payload = room[len(room)-len(raw) : len(room) : len(room)]
			}
		} else {
			payload, err = p.cfg.Codec.Marshal(body)
		}
		if err = p.accept(ctx, eventType, payload, err); err != nil {
			return payloads, err
		}
		payloads = append(payloads, payload)
	}
	return payloads, nil
}

// encode returns the bytes of a body that may be published.
func (p *Publisher) encode(ctx context.Context, eventType string, body any) ([]byte, error) {
	payload, err := p.cfg.Codec.Marshal(body)
	if err = p.accept(ctx, eventType, payload, err); err != nil {
		return nil, err
	}
	return payload, nil
}

// accept returns an error unless what the codec made of a body may be published.
func (p *Publisher) accept(ctx context.Context, eventType string, payload []byte, err error) error {
	if err != nil {
		return fmt.Errorf("events: encode %s: %w", eventType, err)
	}
	if len(payload) > p.cfg.MaxBodyBytes {
		return fmt.Errorf("events: publish %s: %w: %d bytes, at most %d: publish a reference to the data, or raise PublisherConfig.MaxBodyBytes", eventType, ErrTooLarge, len(payload), p.cfg.MaxBodyBytes)
	}
	return p.validate(ctx, eventType, payload)
}
