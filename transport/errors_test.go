package transport_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/transport"
)

func TestCheckTakesTheFourSettlementsOfADelivery(t *testing.T) {
	d := &transport.Delivery{Message: message.NewMessage("1", nil)}
	for _, o := range []transport.Outcome{d.Ack(), d.Retry(0, nil), d.DeadLetter(nil), d.Release()} {
		if err := o.Check(); err != nil {
			t.Errorf("%s: %v", o.Settlement, err)
		}
	}
	for _, o := range []transport.Outcome{
		{},
		{Delivery: d},
		{Delivery: d, Settlement: -1},
		{Delivery: d, Settlement: transport.Release + 1},
		{Settlement: transport.Ack},
		{Delivery: &transport.Delivery{}, Settlement: transport.Ack},
	} {
		if o.Check() == nil {
			t.Errorf("%+v: accepted", o)
		}
	}
}

func TestSettleErrorTellsOfAnyOutcome(t *testing.T) {
	boom := errors.New("boom")
	for want, d := range map[string]*transport.Delivery{
		"no delivery":                    nil,
		`7-0, without a message, in "t"`: {ID: "7-0", Topic: "t"},
		`id-1 in "t"`:                    {Topic: "t", Message: message.NewMessage("id-1", nil)},
	} {
		err := &transport.SettleError{Unsettled: []transport.UnsettledOutcome{{Outcome: transport.Outcome{Delivery: d}, Err: boom}}}
		if !strings.Contains(err.Error(), want) || !errors.Is(err, boom) {
			t.Errorf("got %q, want it to have %q", err, want)
		}
	}
}
