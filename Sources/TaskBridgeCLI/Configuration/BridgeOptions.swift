import ArgumentParser

/// Options of the verbs that read the bridge's configuration. Flags win over environment over file over defaults.
struct BridgeOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Configuration file (TASKBRIDGE_CONFIG).", valueName: "file")) var config: String?
  @Option(help: ArgumentHelp("URL of the broker (TASKBRIDGE_AMQP_URL).", valueName: "url")) var amqp: String?
  @Option(help: ArgumentHelp("Folder of the store (TASKBRIDGE_DATA).", valueName: "dir")) var data: String?
  @Option(help: ArgumentHelp("Address to listen on (TASKBRIDGE_HTTP).", valueName: "host:port")) var http: String?
  @Option(help: ArgumentHelp("trace, debug, info, notice, warning, error or critical.", valueName: "level"))
  var logLevel: String?
  @Flag(help: "Take over a broker that carries another store's marker.") var adoptBroker = false
  @Flag(help: "Go on although the broker's marker is newer than the store (a restored backup).") var acceptRollback =
    false

  var flags: ConfigurationLoader.Flags {
    var flags = ConfigurationLoader.Flags()
    flags.configurationFile = config
    flags.values["amqp_url"] = amqp
    flags.values["data_directory"] = data
    flags.values["http"] = http
    flags.values["log_level"] = logLevel
    flags.adoptBroker = adoptBroker
    flags.acceptRollback = acceptRollback
    return flags
  }
}
