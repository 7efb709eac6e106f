package integration

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/middleware/sqlonce"
	"github.com/logistically/events/outbox"
	"github.com/logistically/events/transport/console"
	_ "modernc.org/sqlite"
)

// exampleDatabase opens a database of its own.
func exampleDatabase() (db *sql.DB, remove func() error) {
	dir, err := os.MkdirTemp("", "example")
	check(err)
	db, err = openDatabase(filepath.Join(dir, "shop.db"))
	check(err)
	return db, func() error { return errors.Join(db.Close(), os.RemoveAll(dir)) }
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// What a handler writes to SQL, and the mark of its event, in one transaction.
func Example_sqlonce() {
	ctx := context.Background()
	db, remove := exampleDatabase()
	defer func() { check(remove()) }()
	marks, err := sqlonce.New(sqlonce.Config{Dialect: sqlonce.SQLite, Scope: "billing"})
	check(err)
	check(marks.Setup(ctx, db)) // or put marks.Schema() into your migrations
	_, err = db.ExecContext(ctx, "CREATE TABLE invoices (order_id TEXT NOT NULL)")
	check(err)

	handle := marks.Handler(db, func(ctx context.Context, tx *sql.Tx, msg *message.Message) ([]*message.Message, error) {
		fmt.Println("the handler runs")
		_, err := tx.ExecContext(ctx, "INSERT INTO invoices (order_id) VALUES (?)", string(msg.Payload))
		return nil, err
	})
	msg := message.NewMessage("event-1", []byte("order-7"))
	for range 3 { // delivered, and two duplicates
		_, err := handle(msg)
		check(err)
	}
	var n int
	check(db.QueryRowContext(ctx, "SELECT COUNT(*) FROM invoices").Scan(&n))
	fmt.Println("invoices:", n)
	// Output:
	// the handler runs
	// invoices: 1
}

// An event that is published if, and only if, what it tells of was committed.
func Example_outbox() {
	ctx := context.Background()
	db, remove := exampleDatabase()
	defer func() { check(remove()) }()
	box, err := outbox.New(outbox.Config{Dialect: outbox.SQLite})
	check(err)
	check(box.Setup(ctx, db)) // or put box.Schema() into your migrations

	place := func(id string, fails bool) {
		tx, err := db.BeginTx(ctx, nil)
		check(err)
		// Here your own tables are written to, by tx.
		check(box.Write(ctx, tx, "order-events", message.NewMessage(id, []byte(`{"order":"`+id+`"}`))))
		if fails {
			check(tx.Rollback())
			return
		}
		check(tx.Commit())
	}
	place("order-1", false)
	place("order-2", true)
	place("order-3", false)

	pub, err := console.NewPublisher(console.PublisherConfig{Format: console.Line})
	check(err)
	forwarder, err := box.Forwarder(outbox.ForwarderConfig{DB: db, Publisher: pub})
	check(err)
	n, err := forwarder.Forward(ctx) // A service has forwarder.Run(ctx), in each of its processes.
	check(err)
	fmt.Println("forwarded:", n)
	// Output:
	// order-events "" order-1 {"order":"order-1"}
	// order-events "" order-3 {"order":"order-3"}
	// forwarded: 2
}
