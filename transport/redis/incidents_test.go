package redis_test

import (
	"testing"
	"time"

	"github.com/logistically/events/transport/redis"
)

func TestIncidentsAreCounted(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	sub, err := redis.NewSubscriber(redis.SubscriberConfig{Client: f.client, Group: "g", Block: 20 * time.Millisecond, Lease: time.Minute, Logger: f.logger()})
	f.check(err)
	r, err := sub.Receiver("t")
	f.check(err)
	if n := sub.Incidents(); n != (redis.Incidents{}) {
		t.Errorf("incidents %+v before there are any", n)
	}
	f.publish("1")
	d := f.receive(r)
	f.claim("other", d.ID, 0)
	redis.Renew(r)
	f.add("t", "garbage", "x")
	f.eventually("it is buried", func() bool { return sub.Incidents().Undecodable == 1 })
	f.check(f.client.FlushAll(t.Context()).Err())
	f.eventually("reading goes on", func() bool { return f.log.count("reading again") == 1 })
	if n, want := sub.Incidents(), (redis.Incidents{Outages: 1, GroupsCreatedAgain: 2, LeasesLost: 1, Undecodable: 1}); n != want {
		t.Errorf("incidents %+v, want %+v", n, want)
	}
	f.check(r.Close())
}

// The server comes back empty: the first that fails is the connection, not the group.
func TestP6_AGroupThatIsGoneAfterAnOutageIsCreatedAgainAndReported(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "--appendonly", "no")
	r := f.receiver(redis.SubscriberConfig{})
	f.server.Kill()
	f.eventually("the outage is noticed", func() bool { return f.log.count("reading failed") == 1 })
	f.check(f.server.Restart(t.Context()))
	f.eventually("publishing works", func() bool { return f.pub.Publish("t", numbered(1)...) == nil })
	if d := f.receive(r); d.Message.UUID != "0" {
		t.Errorf("received %s", d.Message.UUID)
	}
	f.eventually("that is reported", func() bool { return f.log.count("group was gone and is created again") == 1 })
	if n := f.log.count("reading failed"); n != 1 {
		t.Errorf("the outage is reported %d times", n)
	}
}
