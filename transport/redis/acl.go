package redis

import (
	"slices"

	"github.com/logistically/events/transport"
)

// PublisherACL returns the rules of a user that may do what a [Publisher] on the given
// topics does, and nothing else. They are for ACL SETUSER; name and password are yours:
//
//	rules := append([]string{"on", ">secret"}, redis.PublisherACL("user-events")...)
//	err := admin.ACLSetUser(ctx, "billing", rules...).Err()
//
// A topic may be a pattern, such as "user-*"; a backslash escapes *, ?, [ and ].
// Set goredis.Options.DisableIdentity, or allow client|setinfo, too. On Redis Cluster
// add "+cluster|slots", "+command" and "+asking", for the client.
func PublisherACL(topics ...string) []string {
	return rules([]string{"xadd"}, topics)
}

// SubscriberACL returns the rules of a user that may do what a [Subscriber] of a group
// on the given topics does, and nothing else. They are for topics whose dead letters go
// where transport.DeadLetterTopic says; for others add ~ and the topic. Topics and
// group may be patterns. See [PublisherACL] for the rest.
//
// Such a user can write to its topics, too: all streams are written by the same command.
func SubscriberACL(group string, topics ...string) []string {
	var keys []string
	for _, topic := range topics {
		s := stream{topic: topic, group: group}
		keys = append(keys, topic, s.retryKey(), s.delayKey(), s.delayedKey(), s.progressKey(), s.membersKey(), transport.DeadLetterTopic(topic))
	}
	return rules([]string{
		"xgroup|create", "xreadgroup", "type", "xlen", // read; the last two after failures, xlen on a cluster
		"xautoclaim", "xpending", "xclaim", // keep and take over
		"eval", "evalsha", "xack", "xadd", "xdel", // settle
		"hset", "zadd", "time", "zrangebyscore", "hget", "hdel", "zrem", "zrange", // delay
		"hmget", "hrandfield", // of entries of many messages: what is settled
		"xgroup|delconsumer", // leave
		"hgetall",            // share topics, exclusively
	}, keys)
}

// IdempotencyACL returns the rules of a user that may do what an [IdempotencyStore]
// does, and nothing else. An empty prefix means "idempotency:".
func IdempotencyACL(keyPrefix string) []string {
	if keyPrefix == "" {
		keyPrefix = defaultKeyPrefix
	}
	return rules([]string{"eval", "evalsha", "get", "set", "del"}, []string{keyPrefix + "*"})
}

// EffectsOnceACL returns the rules of a user that may do all three at once: consume
// topics as a group, keep claims under a prefix, and publish to other topics, as
// one atomic step over all of them needs; see middleware.Idempotency.
func EffectsOnceACL(group, keyPrefix string, topics, produced []string) []string {
	all := append(SubscriberACL(group, topics...), "+multi", "+exec")
	for _, rule := range append(IdempotencyACL(keyPrefix), PublisherACL(produced...)...) {
		if !slices.Contains(all, rule) {
			all = append(all, rule)
		}
	}
	return all
}

// LimiterACL returns the rules of a user that may do what a [Limiter] does, and nothing
// else. An empty prefix means "rate:".
func LimiterACL(keyPrefix string) []string {
	if keyPrefix == "" {
		keyPrefix = defaultLimiterPrefix
	}
	return rules([]string{"eval", "evalsha", "time", "get", "set"}, []string{keyPrefix + "*"})
}

// rules starts from a user that may do nothing.
func rules(commands, keys []string) []string {
	all := []string{"resetkeys", "resetchannels", "-@all"}
	for _, c := range commands {
		all = append(all, "+"+c)
	}
	for _, k := range keys {
		all = append(all, "~"+k)
	}
	return slices.Clip(all)
}
