package integration

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/middleware/sqlonce"
)

var errBoom = errors.New("boom")

// ordersDatabase is a database with marks, and with a table that handlers write to.
func ordersDatabase(t *testing.T) (*sql.DB, *sqlonce.Marks) {
	t.Helper()
	db, err := openDatabase(filepath.Join(t.TempDir(), "orders.db"))
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	marks, _, err := effects()
	must(t, err)
	must(t, marks.Setup(t.Context(), db))
	_, err = db.Exec("CREATE TABLE orders (event TEXT NOT NULL)")
	must(t, err)
	return db, marks
}

func writeOrder(ctx context.Context, tx *sql.Tx, msg *message.Message) ([]*message.Message, error) {
	_, err := tx.ExecContext(ctx, "INSERT INTO orders (event) VALUES (?)", msg.UUID)
	return []*message.Message{message.NewMessage(fmt.Sprintf("%s at %d", msg.UUID, time.Now().UnixNano()), nil)}, err
}

func wantOrders(t *testing.T, db *sql.DB, want int) {
	t.Helper()
	var n int
	must(t, db.QueryRow("SELECT COUNT(*) FROM orders").Scan(&n))
	if n != want {
		t.Errorf("%d orders, want %d", n, want)
	}
}

func TestSQLMarksAreCommittedWithWhatTheHandlerWrote(t *testing.T) {
	db, marks := ordersDatabase(t)
	fails := 0
	handle := marks.Handler(db, func(ctx context.Context, tx *sql.Tx, msg *message.Message) ([]*message.Message, error) {
		out, err := writeOrder(ctx, tx, msg)
		must(t, err)
		switch fails++; fails {
		case 1:
			return out, errBoom
		case 2:
			panic("boom")
		}
		return out, nil
	})
	msg := message.NewMessage("1", []byte("{}"))
	if _, err := handle(msg); !errors.Is(err, errBoom) {
		t.Errorf("got %v", err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic did not pass")
			}
		}()
		_, _ = handle(msg)
	}()
	wantOrders(t, db, 0)
	first, err := handle(msg) // A failed handler runs again.
	must(t, err)
	again, err := handle(msg)
	must(t, err)
	if len(again) != 1 || again[0].UUID != first[0].UUID {
		t.Errorf("a duplicate returned %v, at first it was %v", again, first)
	}
	wantOrders(t, db, 1)
}

func TestSQLMarksOfConcurrentDuplicates(t *testing.T) {
	db, marks := ordersDatabase(t)
	handle := marks.Handler(db, writeOrder)
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			if _, err := handle(message.NewMessage(fmt.Sprint(i%4), nil)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	wantOrders(t, db, 4)
}

func TestSQLMarksRefuseWhatTheyCannotTell(t *testing.T) {
	db, marks := ordersDatabase(t)
	handle := marks.Handler(db, writeOrder)
	_, err := handle(message.NewMessage("1", []byte("one")))
	must(t, err)
	if _, err := handle(message.NewMessage("1", []byte("two"))); !errors.Is(err, sqlonce.ErrPayloadMismatch) || !events.IsPermanent(err) {
		t.Errorf("another payload: %v", err)
	}
	if _, err := handle(message.NewMessage("", nil)); !errors.Is(err, sqlonce.ErrNoKey) || !events.IsPermanent(err) {
		t.Errorf("no key: %v", err)
	}
	wantOrders(t, db, 1)
}

func TestSQLMarksAreForgottenByTheServersClock(t *testing.T) {
	db, marks := ordersDatabase(t)
	tx, err := db.BeginTx(t.Context(), nil)
	must(t, err)
	first, err := marks.Mark(t.Context(), tx, message.NewMessage("1", nil))
	must(t, err)
	again, err := marks.Mark(t.Context(), tx, message.NewMessage("1", nil))
	must(t, err)
	must(t, tx.Commit())
	if !first || again {
		t.Errorf("first %v, again %v", first, again)
	}
	for _, c := range []struct {
		olderThan time.Duration
		want      int64
	}{{time.Hour, 0}, {-time.Minute, 1}} {
		n, err := marks.Forget(t.Context(), db, c.olderThan)
		must(t, err)
		if n != c.want {
			t.Errorf("forgot %d marks older than %v, want %d", n, c.olderThan, c.want)
		}
	}
}
