import java.io.StringReader;
import java.io.StringWriter;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Properties;
import java.util.Timer;
import java.util.TimerTask;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;
import org.postgresql.core.BaseConnection;
import org.postgresql.util.PSQLException;

/**
 * The PostgreSQL JDBC driver does its everyday work through the gateway, in extended and in simple query mode.
 * Arguments: JDBC URL, user, password, query mode, and the first note id that this run may write.
 * Prints `ok NAME` or `FAIL NAME: why` for each check; the exit code is 1 when one failed. Held statements are answered
 * in this order: the INSERT is approved, the UPDATE is denied with the reason `not today`, the three INSERTs of the batch
 * and the COPY are approved.
 */
public final class JdbcWork {
  private static String url;
  private static Properties properties;
  private static int firstNote;
  private static int failed = 0;

  private interface Check {
    void run(Connection connection) throws Exception;
  }

  public static void main(String[] args) throws Exception {
    url = args[0];
    properties = new Properties();
    properties.setProperty("user", args[1]);
    properties.setProperty("password", args[2]);
    properties.setProperty("preferQueryMode", args[3]);
    properties.setProperty("sslmode", "prefer");
    firstNote = Integer.parseInt(args[4]);
    String mode = " (" + args[3] + ")";
    check("reads every common type" + mode, JdbcWork::readsTypes);
    check("goes on after a statement was prepared on the server" + mode, JdbcWork::preparesOnTheServer);
    check("reads in portions with a fetch size" + mode, JdbcWork::fetchesInPortions);
    check("gets the server's own errors and rolls back" + mode, JdbcWork::getsErrors);
    check("rolls back to a savepoint" + mode, JdbcWork::usesSavepoints);
    check("reads the metadata of the database" + mode, JdbcWork::readsMetadata);
    check("cancels a running statement" + mode, JdbcWork::cancels);
    check("copies out" + mode, JdbcWork::copiesOut);
    check("is refused a destructive statement and goes on" + mode, JdbcWork::isRefused);
    check("is refused a destructive statement in a batch, and nothing of it stays" + mode, JdbcWork::isRefusedInBatch);
    check("writes once a held INSERT is approved" + mode, JdbcWork::writesWhenApproved);
    check("gets the reason when a held UPDATE is denied" + mode, JdbcWork::getsReason);
    check("writes a batch once it is approved" + mode, JdbcWork::writesBatch);
    check("copies in once it is approved" + mode, JdbcWork::copiesIn);
    System.exit(failed == 0 ? 0 : 1);
  }

  private static void check(String name, Check check) {
    try (Connection connection = DriverManager.getConnection(url, properties)) {
      check.run(connection);
      System.out.println("ok JDBC " + name);
    } catch (Exception | AssertionError error) {
      failed++;
      System.out.println("FAIL JDBC " + name + ": " + error);
    }
  }

  private static void readsTypes(Connection connection) throws Exception {
    try (PreparedStatement statement = connection.prepareStatement("SELECT * FROM every_type WHERE id = ?")) {
      statement.setInt(1, 1);
      ResultSet row = statement.executeQuery();
      row.next();
      equal(row.getLong("a_bigint"), Long.MAX_VALUE);
      equal(row.getString("a_text"), "Grüße 🐘 'quoted' \"too\"");
      equal(row.getBytes("a_bytea").length, 3);
      equal(((Integer[]) row.getArray("an_int_array").getArray())[2], 3);
      equal(row.getObject("a_uuid").toString(), "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11");
    }
  }

  private static void preparesOnTheServer(Connection connection) throws Exception {
    try (PreparedStatement statement = connection.prepareStatement("SELECT name FROM customers WHERE id = ?")) {
      for (int id = 1; id <= 20; id++) {
        statement.setInt(1, id);
        ResultSet row = statement.executeQuery();
        row.next();
        equal(row.getString(1), "customer " + id);
      }
    }
  }

  private static void fetchesInPortions(Connection connection) throws Exception {
    connection.setAutoCommit(false);
    try (Statement statement = connection.createStatement()) {
      statement.setFetchSize(77);
      ResultSet rows = statement.executeQuery("SELECT id FROM orders ORDER BY id");
      int count = 0;
      while (rows.next()) {
        equal(rows.getInt(1), ++count);
      }
      equal(count, 2000);
    }
    connection.commit();
  }

  private static void getsErrors(Connection connection) throws Exception {
    connection.setAutoCommit(false);
    equal(failure(connection, "SELECT 1/0").getSQLState(), "22012");
    equal(failure(connection, "SELECT 1").getSQLState(), "25P02");
    connection.rollback();
    equal(number(connection, "SELECT 7"), 7);
    connection.commit();
  }

  private static void usesSavepoints(Connection connection) throws Exception {
    connection.setAutoCommit(false);
    var savepoint = connection.setSavepoint("here");
    equal(failure(connection, "SELECT 1/0").getSQLState(), "22012");
    connection.rollback(savepoint);
    equal(number(connection, "SELECT 8"), 8);
    connection.releaseSavepoint(savepoint);
    connection.commit();
  }

  private static void readsMetadata(Connection connection) throws Exception {
    var metadata = connection.getMetaData();
    ResultSet columns = metadata.getColumns(null, "public", "orders", null);
    int count = 0;
    while (columns.next()) {
      count++;
    }
    equal(count, 4);
    ResultSet keys = metadata.getImportedKeys(null, "public", "orders");
    keys.next();
    equal(keys.getString("PKTABLE_NAME"), "customers");
    metadata.getPrimaryKeys(null, "public", "orders").next();
    metadata.getIndexInfo(null, "public", "customers", false, false).next();
    metadata.getTables(null, null, "%", new String[] {"TABLE", "VIEW"}).next();
    metadata.getFunctions(null, "public", "%").next();
  }

  private static void cancels(Connection connection) throws Exception {
    Timer timer = new Timer(true);
    try (Statement statement = connection.createStatement()) {
      timer.schedule(new TimerTask() {
        @Override
        public void run() {
          try {
            statement.cancel();
          } catch (SQLException error) {
            System.out.println("the cancel request failed: " + error);
          }
        }
      }, 500);
      try {
        statement.executeQuery("SELECT count(*) FROM generate_series(1, 20000000) a, generate_series(1, 1000) b");
        throw new AssertionError("the statement was not cancelled");
      } catch (SQLException error) {
        equal(error.getSQLState(), "57014");
      }
    }
    timer.cancel();
    equal(number(connection, "SELECT 9"), 9);
  }

  private static void copiesOut(Connection connection) throws Exception {
    StringWriter out = new StringWriter();
    new CopyManager((BaseConnection) connection).copyOut("COPY (SELECT id, name FROM customers ORDER BY id LIMIT 2) TO STDOUT WITH (FORMAT csv)", out);
    equal(out.toString(), "1,customer 1\n2,customer 2\n");
  }

  private static void isRefused(Connection connection) throws Exception {
    for (String sql : new String[] {"DELETE FROM payments", "DROP TABLE customers", "TRUNCATE payments"}) {
      SQLException error = failure(connection, sql);
      equal(error.getSQLState(), "42501");
      var details = ((PSQLException) error).getServerErrorMessage();
      contains("CRITICAL", details.getMessage() + details.getDetail());
      if (details.getHint() == null) {
        throw new AssertionError("no hint");
      }
      equal(number(connection, "SELECT count(*) FROM payments"), 2000);
    }
  }

  private static void isRefusedInBatch(Connection connection) throws Exception {
    try (Statement statement = connection.createStatement()) {
      statement.addBatch("SET statement_timeout = 60000");
      statement.addBatch("DELETE FROM payments");
      statement.executeBatch();
      throw new AssertionError("the batch ran");
    } catch (BatchUpdateException error) {
      equal(error.getSQLState(), "42501");
    }
    equal(number(connection, "SELECT count(*) FROM payments"), 2000);
  }

  private static void writesWhenApproved(Connection connection) throws Exception {
    try (PreparedStatement statement = connection.prepareStatement("INSERT INTO notes VALUES (?, ?) RETURNING id")) {
      statement.setInt(1, firstNote);
      statement.setString(2, "from JDBC");
      ResultSet row = statement.executeQuery();
      row.next();
      equal(row.getInt(1), firstNote);
    }
    equal(number(connection, "SELECT count(*) FROM notes WHERE id = " + firstNote), 1);
  }

  private static void getsReason(Connection connection) throws Exception {
    // Another row in each run: a denial stands for the very same statement when it is sent again.
    int row = firstNote / 100 % 10 + 6;
    SQLException error = failure(connection, "UPDATE notes SET body = 'changed' WHERE id = " + row);
    equal(error.getSQLState(), "42501");
    var details = ((PSQLException) error).getServerErrorMessage();
    contains("not today", details.getMessage() + details.getDetail());
    equal(number(connection, "SELECT count(*) FROM notes WHERE id = " + row + " AND body = 'note " + row + "'"), 1);
  }

  private static void writesBatch(Connection connection) throws Exception {
    connection.setAutoCommit(false);
    try (PreparedStatement statement = connection.prepareStatement("INSERT INTO notes VALUES (?, ?)")) {
      for (int i = 1; i <= 3; i++) {
        statement.setInt(1, firstNote + i);
        statement.setString(2, "batch");
        statement.addBatch();
      }
      equal(statement.executeBatch().length, 3);
    }
    connection.commit();
    equal(number(connection, "SELECT count(*) FROM notes WHERE body = 'batch' AND id BETWEEN " + firstNote + " AND " + (firstNote + 3)), 3);
  }

  private static void copiesIn(Connection connection) throws Exception {
    StringBuilder rows = new StringBuilder();
    for (int i = 10; i < 60; i++) {
      rows.append(firstNote + i).append("\tcopied\n");
    }
    equal(new CopyManager((BaseConnection) connection).copyIn("COPY notes FROM STDIN", new StringReader(rows.toString())), 50L);
    equal(((PGConnection) connection).getNotifications().length, 0);
  }

  private static SQLException failure(Connection connection, String sql) {
    try (Statement statement = connection.createStatement()) {
      statement.execute(sql);
    } catch (SQLException error) {
      return error;
    }
    throw new AssertionError("it did not fail: " + sql);
  }

  private static int number(Connection connection, String sql) throws SQLException {
    try (Statement statement = connection.createStatement()) {
      ResultSet row = statement.executeQuery(sql);
      row.next();
      return row.getInt(1);
    }
  }

  private static void equal(Object got, Object expected) {
    if (!expected.equals(got)) {
      throw new AssertionError("got " + got + ", expected " + expected);
    }
  }

  private static void contains(String part, String text) {
    if (text == null || !text.contains(part)) {
      throw new AssertionError("\"" + part + "\" is not in \"" + text + "\"");
    }
  }
}
