# frozen_string_literal: true

# A real OAuth server: Doorkeeper, the engine whose messages and routes Procore's are, in the smallest Rails app around it.
#
# Started by tests/src/doorkeeper.rs:  ruby -S puma --bind tcp://127.0.0.1:0 config.ru
#
# From the environment:
#   DOORKEEPER_FOLDER         where the database and temporary files go; new for each server
#   DOORKEEPER_ROTATION       strict: a refresh token is dead once used
#                             grace:  it works until the access token that it gave is first used
#   DOORKEEPER_LIFETIME       of an access token, in seconds
#   DOORKEEPER_CLIENT_ID, DOORKEEPER_CLIENT_SECRET, DOORKEEPER_REDIRECT_URIS (one a line): the registered app
#
# The one user is signed in always and consents to everything. The server ends when its standard input does.

FOLDER = ENV.fetch("DOORKEEPER_FOLDER")
GRACE = { "strict" => false, "grace" => true }.fetch(ENV.fetch("DOORKEEPER_ROTATION"))

ENV["RAILS_ENV"] = "production"
ENV["DATABASE_URL"] = "sqlite3:#{File.join(FOLDER, "database.sqlite3")}?pool=16&timeout=10000"

require "rails"
require "active_record/railtie"
require "action_controller/railtie"
require "action_view/railtie"
require "doorkeeper"

# Whoever started the server holds the other end: no orphan outlives a killed test.
Thread.new do
  $stdin.read
  exit!(0)
end

# Counts what reaches the token endpoint.
class CountTokenPosts
  SEEN = Queue.new

  def initialize(app)
    @app = app
  end

  def call(env)
    SEEN << env["PATH_INFO"] if env["REQUEST_METHOD"] == "POST" && env["PATH_INFO"] == "/oauth/token"
    @app.call(env)
  end
end

class OAuthServer < Rails::Application
  config.load_defaults 6.1
  config.root = FOLDER
  config.eager_load = true
  config.secret_key_base = SecureRandom.hex(64)
  config.logger = Logger.new($stderr)
  config.log_level = :warn
  # Requests come by the names of Procore's hosts.
  config.hosts.clear
  config.middleware.use CountTokenPosts
end

# SQLite has no row locks. A transaction that takes the write lock at its start has the same effect: of two refreshes with one
# token, the second sees what the first did.
module ImmediateTransactions
  def begin_db_transaction
    log("begin immediate transaction", "TRANSACTION") { @connection.transaction(:immediate) }
  end
end

ActiveSupport.on_load(:active_record) do
  require "active_record/connection_adapters/sqlite3_adapter"
  ActiveRecord::ConnectionAdapters::SQLite3Adapter.prepend(ImmediateTransactions)
end

Doorkeeper.configure do
  orm :active_record
  resource_owner_authenticator { User.first }
  skip_authorization { true }
  grant_flows %w[authorization_code client_credentials]
  use_refresh_token
  default_scopes :public
  access_token_expires_in Integer(ENV.fetch("DOORKEEPER_LIFETIME"))
  force_ssl_in_redirect_uri false
end

OAuthServer.initialize!

# The columns of Doorkeeper's own migration.
ActiveRecord::Schema.verbose = false
ActiveRecord::Schema.define do
  create_table :users do |t|
    t.string :name, :login, null: false
  end
  create_table :projects do |t|
    t.string :name, null: false
  end
  create_table :oauth_applications do |t|
    t.string :name, :uid, :secret, null: false
    t.text :redirect_uri, null: false
    t.string :scopes, null: false, default: ""
    t.boolean :confidential, null: false, default: true
    t.timestamps null: false
    t.index :uid, unique: true
  end
  create_table :oauth_access_grants do |t|
    t.references :resource_owner, :application, null: false
    t.string :token, null: false, index: { unique: true }
    t.integer :expires_in, null: false
    t.text :redirect_uri, null: false
    t.datetime :created_at, null: false
    t.datetime :revoked_at
    t.string :scopes, null: false, default: ""
  end
  create_table :oauth_access_tokens do |t|
    t.references :resource_owner
    t.references :application, null: false
    t.string :token, null: false, index: { unique: true }
    t.string :refresh_token, index: { unique: true }
    t.integer :expires_in
    t.datetime :revoked_at
    t.datetime :created_at, null: false
    t.string :scopes
    # Its presence is what switches the grace period on.
    t.string :previous_refresh_token, null: false, default: "" if GRACE
  end
end

class User < ActiveRecord::Base; end
class Project < ActiveRecord::Base; end

# What Procore's API answers to a token.
class ApiController < ActionController::API
  before_action :doorkeeper_authorize!

  def me
    user = User.find_by(id: doorkeeper_token.resource_owner_id)
    # Without a user, it is the app's service account.
    name = user&.name || doorkeeper_token.application.name
    render json: { id: user&.id || 0, login: user&.login || "service-account", name: name }
  end

  def companies
    render json: [{ id: 4001, name: "Acme Builders" }]
  end

  def projects
    render json: [{ id: 1, name: "Bridge" }, { id: 2, name: "Tower" }]
  end

  # Each execution makes one more, of the same name too.
  def create_project
    project = Project.create!(name: params.require(:project).require(:name))
    render json: { id: project.id, name: project.name }, status: :created
  end
end

# What a test may see and do behind the server's back.
class TestController < ActionController::API
  def tokens
    rows = Doorkeeper::AccessToken.order(:id).map do |row|
      { expired: row.expired?, revoked: row.revoked?, refreshable: row.refresh_token.present?,
        service_account: row.resource_owner_id.nil? }
    end
    render json: rows
  end

  def token_posts
    render json: CountTokenPosts::SEEN.size
  end

  # The names, in the order of their creation.
  def projects
    render json: Project.order(:id).pluck(:name)
  end

  # As My Connected Apps -> Revoke does.
  def revoke
    Doorkeeper::AccessGrant.revoke_all_for(Doorkeeper::Application.first.id, User.first)
    Doorkeeper::AccessToken.revoke_all_for(Doorkeeper::Application.first.id, User.first)
    head :no_content
  end

  # Lets time pass for every token that there is.
  def age
    seconds = Integer(params.require(:seconds))
    Doorkeeper::AccessToken.find_each do |row|
      row.update_columns(created_at: row.created_at - seconds)
    end
    head :no_content
  end
end

OAuthServer.routes.draw do
  use_doorkeeper { skip_controllers :applications, :authorized_applications }
  scope "/rest/v1.0", controller: :api do
    get :me
    get :companies
    get :projects
    post :projects, action: :create_project
  end
  scope "/test", controller: :test do
    get :tokens
    get :token_posts
    get :projects
    post :revoke
    post :age
  end
end

User.create!(name: "Ada Agent", login: "ada@example.com")
Doorkeeper::Application.create!(
  name: "procore-auth", uid: ENV.fetch("DOORKEEPER_CLIENT_ID"), secret: ENV.fetch("DOORKEEPER_CLIENT_SECRET"),
  redirect_uri: ENV.fetch("DOORKEEPER_REDIRECT_URIS")
)

run OAuthServer
