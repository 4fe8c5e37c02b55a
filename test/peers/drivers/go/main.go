// pgx plays the shared scenario: its extended protocol with a cache of statements, binary results, batches, COPY and
// notifications. It prints one JSON line for each step. Environment: DATABASE_URL, FIRST_NOTE, SHORT.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const endless = "SELECT count(*) FROM generate_series(1, 20000000) %s, generate_series(1, 1000) b"

var (
	ctx        = context.Background()
	connection *pgx.Conn
	texts      []string
	note, _    = strconv.Atoi(os.Getenv("FIRST_NOTE"))
)

// [connect
func connect() (*pgx.Conn, error) {
	return pgx.Connect(context.Background(), os.Getenv("DATABASE_URL"))
}

// connect]

type querier interface {
	Query(context.Context, string, ...any) (pgx.Rows, error)
}

type step struct {
	name string
	play func() (any, error)
}

func main() {
	steps := []step{
		{"read", read}, {"held", held}, {"held_in_transaction", heldInTransaction}, {"denied", denied}, {"refused", refused},
		{"refused_in_transaction", refusedInTransaction}, {"cancel", cancel}, {"reconnect", reconnect},
	}
	if os.Getenv("SHORT") == "" {
		steps = append(steps, step{"own_batch", batch}, step{"own_copy", copyBothWays}, step{"own_notify", notify}, step{"own_simple_protocol", simple})
	}
	var err error
	if connection, err = connect(); err != nil {
		panic(err)
	}
	code := 0
	for _, each := range steps {
		texts = []string{}
		line := map[string]any{"step": each.name}
		if value, err := each.play(); err != nil {
			code = 1
			line["failed"] = err.Error()
		} else {
			line["value"], line["texts"] = value, texts
		}
		out, _ := json.Marshal(line)
		fmt.Println(string(out))
	}
	os.Exit(code)
}

func rows(on querier, sql string, arguments ...any) ([][]any, error) {
	found, err := on.Query(ctx, sql, arguments...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(found, func(row pgx.CollectableRow) ([]any, error) { return row.Values() })
}

// fails is the value of a step that met an error: its code is compared, its words are kept for the test to match.
func fails(err error) (any, error) {
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		return nil, fmt.Errorf("it ran, or failed otherwise: %v", err)
	}
	texts = append(texts, strings.Join([]string{refused.Message, refused.Detail, refused.Hint}, " "))
	return map[string]string{"error": refused.Code}, nil
}

// all gathers what several calls gave; the first error ends it.
func all(calls ...func() (any, error)) (any, error) {
	values := []any{}
	for _, call := range calls {
		value, err := call()
		if err != nil {
			return nil, err
		}
		values = append(values, value)
	}
	return values, nil
}

func ask(on querier, sql string, arguments ...any) func() (any, error) {
	return func() (any, error) { return rows(on, sql, arguments...) }
}

func failing(on querier, sql string, arguments ...any) func() (any, error) {
	return func() (any, error) {
		_, err := rows(on, sql, arguments...)
		return fails(err)
	}
}

func read() (any, error) {
	calls := []func() (any, error){}
	for id := 1; id <= 12; id++ {
		calls = append(calls, ask(connection, "SELECT name FROM customers WHERE id = $1", id))
	}
	count := func() (any, error) {
		found, err := rows(connection, "SELECT id FROM orders ORDER BY id")
		return len(found), err
	}
	types := "SELECT id, a_bool, a_bigint, a_text, an_int_array, an_enum::text FROM every_type WHERE id = 1"
	return all(append(calls, ask(connection, types), count, failing(connection, "SELECT 1/0"), ask(connection, "SELECT 1"))...)
}

func held() (any, error) {
	return all(ask(connection, "INSERT INTO notes VALUES ($1, $2) RETURNING id", note, "pgx"), ask(connection, "SELECT body FROM notes WHERE id = $1", note))
}

func heldInTransaction() (any, error) {
	for at, end := range []func(pgx.Tx) error{func(tx pgx.Tx) error { return tx.Rollback(ctx) }, func(tx pgx.Tx) error { return tx.Commit(ctx) }} {
		tx, err := connection.Begin(ctx)
		if err != nil {
			return nil, err
		}
		if _, err = tx.Exec(ctx, "INSERT INTO notes VALUES ($1, $2)", note+1+at, "in a transaction"); err != nil {
			return nil, err
		}
		if err = end(tx); err != nil {
			return nil, err
		}
	}
	return rows(connection, "SELECT id, body FROM notes WHERE id IN ($1, $2)", note+1, note+2)
}

func denied() (any, error) {
	return all(failing(connection, "UPDATE customers SET name = $1 WHERE id = $2", "changed", 5), ask(connection, "SELECT name FROM customers WHERE id = 5"))
}

func refused() (any, error) {
	return all(failing(connection, "DELETE FROM payments"), ask(connection, "SELECT count(*) FROM payments"))
}

func refusedInTransaction() (any, error) {
	tx, err := connection.Begin(ctx)
	if err != nil {
		return nil, err
	}
	rollback := func() (any, error) { return nil, tx.Rollback(ctx) }
	return all(ask(tx, "SELECT count(*) FROM payments"), failing(tx, "DELETE FROM payments"), failing(tx, "SELECT 1"), rollback, ask(connection, "SELECT count(*) FROM payments"))
}

// A cancel that arrives before its query does is lost, in PostgreSQL too: so again and again.
func cancel() (any, error) {
	over := make(chan bool)
	go func() {
		for {
			select {
			case <-over:
				return
			case <-time.After(300 * time.Millisecond):
				_ = connection.PgConn().CancelRequest(ctx)
			}
		}
	}()
	failed, err := failing(connection, fmt.Sprintf(endless, "a"))()
	over <- true
	if err != nil {
		return nil, err
	}
	return all(func() (any, error) { return failed, nil }, ask(connection, "SELECT 1"))
}

func reconnect() (any, error) {
	if _, err := rows(connection, fmt.Sprintf(endless, "lost")); err == nil {
		return nil, errors.New("it ran, and must not")
	}
	var err error
	if connection, err = connect(); err != nil {
		return nil, err
	}
	return rows(connection, "SELECT count(*) FROM customers")
}

func batch() (any, error) {
	queued := &pgx.Batch{}
	for id := 1; id <= 10; id++ {
		queued.Queue("SELECT name FROM customers WHERE id = $1", id)
	}
	queued.Queue("INSERT INTO notes VALUES ($1, $2)", note+5, "in a batch")
	results := connection.SendBatch(ctx, queued)
	names := []string{}
	for id := 1; id <= 10; id++ {
		var name string
		if err := results.QueryRow().Scan(&name); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	tag, err := results.Exec()
	if err != nil {
		return nil, err
	}
	return []any{names, tag.RowsAffected()}, results.Close()
}

func copyBothWays() (any, error) {
	copied, err := connection.CopyFrom(ctx, pgx.Identifier{"notes"}, []string{"id", "body"}, pgx.CopyFromSlice(10, func(i int) ([]any, error) {
		return []any{note + 10 + i, "copied"}, nil
	}))
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if _, err := connection.PgConn().CopyTo(ctx, &out, "COPY (SELECT id, name FROM customers ORDER BY id LIMIT 3) TO STDOUT"); err != nil {
		return nil, err
	}
	return []any{copied, out.String()}, nil
}

func notify() (any, error) {
	mouth, err := connect()
	if err != nil {
		return nil, err
	}
	if _, err = connection.Exec(ctx, "LISTEN news"); err != nil {
		return nil, err
	}
	if _, err = mouth.Exec(ctx, "NOTIFY news, 'hello'"); err != nil {
		return nil, err
	}
	limited, stop := context.WithTimeout(ctx, 10*time.Second)
	defer stop()
	heard, err := connection.WaitForNotification(limited)
	if err != nil {
		return nil, err
	}
	return []string{heard.Channel, heard.Payload}, mouth.Close(ctx)
}

func simple() (any, error) {
	found, err := connection.Query(ctx, "SELECT name FROM customers WHERE id = $1", pgx.QueryExecModeSimpleProtocol, 3)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(found, func(row pgx.CollectableRow) ([]any, error) { return row.Values() })
}
