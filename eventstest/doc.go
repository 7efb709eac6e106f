// Package eventstest tests services that publish and handle events, without a
// server and without sleeping. A [Kit] is a transport in memory, a router and a
// typed publisher inside testing/synctest, where time is virtual: a retry
// after three days takes as long as any other.
//
//	func TestAUserIsWelcomed(t *testing.T) {
//		synctest.Test(t, func(t *testing.T) {
//			k := eventstest.New(t, eventstest.Config{Router: router.Config{Topics: []string{"user-events"}}})
//			if err := router.Handle(k.Router, "user.created", welcome(k.Events)); err != nil {
//				t.Fatal(err)
//			}
//			k.FailNext("user.created", 1, errors.New("the mail server is busy"))
//			k.Publish("user.created", UserCreated{Name: "Ada"})
//			k.Settle()
//			k.AssertHandled("user.created")
//			eventstest.AssertPublished(k, "notification.sent", eventstest.Body(Notification{To: "Ada"}))
//		})
//	}
//
// A service that makes its own router gets [Kit.Publisher] and [Kit.Subscriber]
// in place of those of its real transport, and is run by [Kit.Run].
//
// A failed assertion prints what happened to the events in question: when they
// were published, delivered, retried and why, dead-lettered and why.
//
// It imports package testing: import it in tests only.
package eventstest
