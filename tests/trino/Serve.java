import io.trino.plugin.hive.HivePlugin;
import io.trino.server.testing.TestingTrinoServer;

/// Prints a Trino's URL on stdout and serves until it is killed; catalogs are made with SQL.
void main() throws Exception {
    var stdout = System.out; // Trino takes it for its log
    var server = TestingTrinoServer.create();
    server.installPlugin(new HivePlugin());
    stdout.println(server.getBaseUrl());
    Thread.currentThread().join();
}
