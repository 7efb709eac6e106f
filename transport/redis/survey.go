package redis

import (
	"fmt"
	"time"
)

// topicState is what a survey finds out about a topic.
type topicState struct {
	topic, retries *stream
	pending        bool          // in one of the two
	due            time.Duration // until the next retry is; below zero if there is none
}

// survey asks whether there is something to do for topics, in one command for all
// that one command may name, so that topics without work cost nothing each.
func (r *receiver) survey(topics []*stream) ([]topicState, error) {
	keys := make([]string, 0, len(topics)/2*3)
	for i := 0; i < len(topics); i += 2 {
		keys = append(keys, topics[i].delayKey(), topics[i].key, topics[i+1].key)
	}
	reply, err := surveyScript.Run(r.ctx, r.cfg.Client, keys, r.cfg.Group).Int64Slice()
	if err != nil {
		return nil, err
	}
	if len(reply) != len(keys) {
		return nil, fmt.Errorf("survey of %d topics: %w", len(topics)/2, errReply)
	}
	states := make([]topicState, len(topics)/2)
	for i := range states {
		found := reply[3*i:]
		states[i] = topicState{topics[2*i], topics[2*i+1], found[1]+found[2] > 0, time.Duration(found[0]) * time.Millisecond}
	}
	return states, nil
}
