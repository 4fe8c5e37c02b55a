import java.io.StringReader;
import java.io.StringWriter;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Properties;
import java.util.Timer;
import java.util.TimerTask;
import java.util.concurrent.Callable;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;
import org.postgresql.core.BaseConnection;
import org.postgresql.util.PSQLException;

/**
 * JDBC plays the shared scenario: statements prepared on the server after five uses, fetch sizes, batches, the metadata
 * of the database, COPY, large objects by FunctionCall messages. It prints one JSON line for each step. Environment:
 * DATABASE_URL, FIRST_NOTE, SHORT, QUERY_MODE (`extended`, or `simple`: Query messages instead of Parse, Bind and Execute).
 */
public final class JdbcDriver {
  private static final String ENDLESS = "SELECT count(*) FROM generate_series(1, 20000000) %s, generate_series(1, 1000) b";
  private static final String TYPES = "SELECT id, a_bool, a_bigint, a_text, an_int_array, an_enum::text FROM every_type WHERE id = 1";
  private static final int NOTE = Integer.parseInt(System.getenv("FIRST_NOTE"));
  private static final List<String> texts = new ArrayList<>();
  private static Connection connection;
  private static boolean failed = false;

  // [connect
  static Connection connect(String place, String agent, String token) throws SQLException {
    Properties properties = new Properties();
    properties.setProperty("user", agent);
    properties.setProperty("password", token);
    return DriverManager.getConnection("jdbc:postgresql://" + place, properties);
  }
  // connect]

  public static void main(String[] args) throws Exception {
    connection = connect();
    step("read", JdbcDriver::read);
    step("held", JdbcDriver::held);
    step("held_in_transaction", JdbcDriver::heldInTransaction);
    step("denied", () -> list(fails("UPDATE customers SET name = ? WHERE id = ?", "changed", 5), rows("SELECT name FROM customers WHERE id = 5")));
    step("refused", () -> list(fails("DELETE FROM payments"), rows("SELECT count(*) FROM payments")));
    step("refused_in_transaction", JdbcDriver::refusedInTransaction);
    step("cancel", JdbcDriver::cancel);
    step("reconnect", JdbcDriver::reconnect);
    if (System.getenv("SHORT") == null) {
      step("own_batch", JdbcDriver::batch);
      step("own_batch_refused", JdbcDriver::batchRefused);
      step("own_copy", JdbcDriver::copy);
      step("own_every_type", () -> rows("SELECT * FROM every_type WHERE id = 1"));
      step("own_large_object", JdbcDriver::largeObject);
      step("own_metadata", JdbcDriver::metadata);
      step("own_savepoint", JdbcDriver::savepoint);
    }
    System.exit(failed ? 1 : 0);
  }

  private static Connection connect() throws Exception {
    java.net.URI uri = java.net.URI.create(System.getenv("DATABASE_URL"));
    String[] user = uri.getUserInfo().split(":", 2);
    String query = uri.getQuery() == null ? "" : "&" + uri.getQuery();
    String mode = "?preferQueryMode=" + System.getenv("QUERY_MODE");
    return connect(uri.getHost() + ":" + uri.getPort() + uri.getPath() + mode + query, user[0], user[1]);
  }

  private static void step(String name, Callable<Object> play) {
    texts.clear();
    String line;
    try {
      line = "{\"step\": " + json(name) + ", \"value\": " + json(play.call()) + ", \"texts\": " + json(texts) + "}";
    } catch (Exception | AssertionError error) {
      failed = true;
      java.io.StringWriter trace = new java.io.StringWriter();
      error.printStackTrace(new java.io.PrintWriter(trace));
      line = "{\"step\": " + json(name) + ", \"failed\": " + json(trace.toString()) + "}";
    }
    System.out.println(line);
  }

  private static Object read() throws Exception {
    List<Object> names = new ArrayList<>();
    for (int id = 1; id <= 12; id++) {
      names.add(rows("SELECT name FROM customers WHERE id = ?", id));
    }
    connection.setAutoCommit(false);
    int count = 0;
    try (Statement statement = connection.createStatement()) {
      statement.setFetchSize(77);
      ResultSet found = statement.executeQuery("SELECT id FROM orders ORDER BY id");
      while (found.next()) {
        count++;
      }
    }
    connection.commit();
    connection.setAutoCommit(true);
    return list(names, rows(TYPES), count, fails("SELECT 1/0"), rows("SELECT 1"));
  }

  private static Object held() throws Exception {
    return list(rows("INSERT INTO notes VALUES (?, ?) RETURNING id", NOTE, "JDBC"), rows("SELECT body FROM notes WHERE id = ?", NOTE));
  }

  private static Object heldInTransaction() throws Exception {
    connection.setAutoCommit(false);
    change("INSERT INTO notes VALUES (?, ?)", NOTE + 1, "taken back");
    connection.rollback();
    change("INSERT INTO notes VALUES (?, ?)", NOTE + 2, "stays");
    connection.commit();
    connection.setAutoCommit(true);
    return rows("SELECT id, body FROM notes WHERE id IN (?, ?)", NOTE + 1, NOTE + 2);
  }

  private static Object refusedInTransaction() throws Exception {
    connection.setAutoCommit(false);
    Object seen = list(rows("SELECT count(*) FROM payments"), fails("DELETE FROM payments"), fails("SELECT 1"));
    connection.rollback();
    connection.setAutoCommit(true);
    return list(seen, rows("SELECT count(*) FROM payments"));
  }

  /** A cancel that arrives before its query does is lost, in PostgreSQL too: so again and again. */
  private static Object cancel() throws Exception {
    Timer timer = new Timer(true);
    try (Statement statement = connection.createStatement()) {
      timer.schedule(new TimerTask() {
        @Override
        public void run() {
          try {
            ((PGConnection) connection).cancelQuery();
          } catch (SQLException ignored) {
            // The query's own error tells.
          }
        }
      }, 300, 300);
      statement.executeQuery(String.format(ENDLESS, "a"));
      throw new AssertionError("it was not cancelled");
    } catch (PSQLException caught) {
      timer.cancel();
      return list(error(caught), rows("SELECT 1"));
    }
  }

  private static Object reconnect() throws Exception {
    try {
      rows(String.format(ENDLESS, "lost"));
    } catch (SQLException expected) {
      connection = connect();
      return rows("SELECT count(*) FROM customers");
    }
    throw new AssertionError("it ran, and must not");
  }

  private static Object batch() throws Exception {
    try (PreparedStatement statement = connection.prepareStatement("INSERT INTO notes VALUES (?, ?)")) {
      for (int i = 10; i < 13; i++) {
        statement.setInt(1, NOTE + i);
        statement.setString(2, "in a batch");
        statement.addBatch();
      }
      List<Object> counts = new ArrayList<>();
      for (int count : statement.executeBatch()) {
        counts.add(count);
      }
      return counts;
    }
  }

  private static Object batchRefused() throws Exception {
    try (Statement statement = connection.createStatement()) {
      statement.addBatch("SET statement_timeout = 60000");
      statement.addBatch("DELETE FROM payments");
      statement.executeBatch();
    } catch (BatchUpdateException caught) {
      return list(error((PSQLException) caught.getCause()), rows("SELECT count(*) FROM payments"), rows("SHOW statement_timeout"));
    }
    throw new AssertionError("it ran, and must not");
  }

  private static Object copy() throws Exception {
    CopyManager copies = new CopyManager((BaseConnection) connection);
    StringWriter out = new StringWriter();
    copies.copyOut("COPY (SELECT id, name FROM customers ORDER BY id LIMIT 2) TO STDOUT WITH (FORMAT csv)", out);
    StringBuilder in = new StringBuilder();
    for (int i = 20; i < 70; i++) {
      in.append(NOTE + i).append("\tcopied\n");
    }
    return list(out.toString(), copies.copyIn("COPY notes FROM STDIN", new StringReader(in.toString())));
  }

  private static Object largeObject() throws Exception {
    connection.setAutoCommit(false);
    var objects = ((PGConnection) connection).getLargeObjectAPI();
    long oid = objects.createLO();
    var written = objects.open(oid, org.postgresql.largeobject.LargeObjectManager.WRITE);
    written.write("large".repeat(100).getBytes());
    written.close();
    var read = objects.open(oid, org.postgresql.largeobject.LargeObjectManager.READ);
    read.seek(490);
    String tail = new String(read.read(100));
    read.close();
    objects.delete(oid);
    connection.commit();
    connection.setAutoCommit(true);
    return tail;
  }

  private static Object metadata() throws Exception {
    var metadata = connection.getMetaData();
    List<Object> seen = new ArrayList<>();
    for (ResultSet found : Arrays.asList(metadata.getColumns(null, "public", "orders", null), metadata.getImportedKeys(null, "public", "orders"),
        metadata.getPrimaryKeys(null, "public", "orders"), metadata.getIndexInfo(null, "public", "customers", false, false),
        metadata.getTables(null, "public", "%", new String[] {"TABLE", "VIEW"}), metadata.getFunctions(null, "public", "%"), metadata.getTypeInfo())) {
      int count = 0;
      while (found.next()) {
        count++;
      }
      seen.add(count);
    }
    return seen;
  }

  private static Object savepoint() throws Exception {
    connection.setAutoCommit(false);
    var savepoint = connection.setSavepoint("here");
    Object error = fails("SELECT 1/0");
    connection.rollback(savepoint);
    Object after = rows("SELECT 8");
    connection.commit();
    connection.setAutoCommit(true);
    return list(error, after);
  }

  private static PreparedStatement prepare(String sql, Object... values) throws SQLException {
    PreparedStatement statement = connection.prepareStatement(sql);
    for (int i = 0; i < values.length; i++) {
      statement.setObject(i + 1, values[i]);
    }
    return statement;
  }

  private static List<Object> rows(String sql, Object... values) throws SQLException {
    try (PreparedStatement statement = prepare(sql, values)) {
      ResultSet found = statement.executeQuery();
      List<Object> rows = new ArrayList<>();
      while (found.next()) {
        List<Object> row = new ArrayList<>();
        for (int column = 1; column <= found.getMetaData().getColumnCount(); column++) {
          Object value = found.getObject(column);
          row.add(value instanceof java.sql.Array array ? Arrays.asList((Object[]) array.getArray()) : value);
        }
        rows.add(row);
      }
      return rows;
    }
  }

  private static int change(String sql, Object... values) throws SQLException {
    try (PreparedStatement statement = prepare(sql, values)) {
      return statement.executeUpdate();
    }
  }

  private static Object fails(String sql, Object... values) throws SQLException {
    try (PreparedStatement statement = prepare(sql, values)) {
      statement.execute();
    } catch (PSQLException caught) {
      return error(caught);
    }
    throw new AssertionError("it ran, and must not");
  }

  /** The value of a step that met an error: its code is compared, its words are kept for the test to match. */
  private static Object error(PSQLException caught) {
    texts.add(String.valueOf(caught.getServerErrorMessage()));
    return "error " + caught.getSQLState();
  }

  private static List<Object> list(Object... values) {
    return Arrays.asList(values);
  }

  private static String json(Object value) {
    if (value == null || value instanceof Number || value instanceof Boolean) {
      return String.valueOf(value);
    }
    if (value instanceof byte[] bytes) {
      return json(HexFormat.of().formatHex(bytes));
    }
    if (value instanceof List<?> values) {
      return "[" + String.join(", ", values.stream().map(JdbcDriver::json).toList()) + "]";
    }
    StringBuilder text = new StringBuilder("\"");
    for (char c : value.toString().toCharArray()) {
      text.append(c == '"' || c == '\\' ? "\\" + c : c < ' ' || c > '~' ? String.format("\\u%04x", (int) c) : String.valueOf(c));
    }
    return text.append('"').toString();
  }
}
